package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// asset reads a file of deploy/.
func asset(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile("../../deploy/" + path)
	must(t, err)
	return string(content)
}

// composed is what compose.yaml says of a service.
type composed struct {
	Environment map[string]string
	Command     []string
}

func composeServices(t *testing.T) map[string]composed {
	t.Helper()
	var file struct{ Services map[string]yaml.Node }
	must(t, yaml.Unmarshal([]byte(asset(t, "compose/compose.yaml")), &file))
	services := map[string]composed{}
	for _, name := range []string{"customersync", "auth0"} {
		node := file.Services[name]
		var c composed
		must(t, node.Decode(&c))
		services[name] = c
	}
	return services
}

// exampleEnv is the example file as systemd reads it, with what is commented out if
// asked for.
func exampleEnv(t *testing.T, commented bool) (env []string) {
	t.Helper()
	for line := range strings.Lines(asset(t, "customersync.env.example")) {
		line = strings.TrimSpace(line)
		if commented {
			line = strings.TrimPrefix(line, "#")
		}
		if regexp.MustCompile(`^[A-Z0-9_]+=`).MatchString(line) {
			env = append(env, strings.ReplaceAll(line, "'", ""))
		}
	}
	return env
}

func TestWhatIsDeployedSetsSettingsThatThereAre(t *testing.T) {
	t.Parallel()
	var known []string
	for _, s := range (settings{}).list() {
		known = append(known, s.env)
		if s.secret {
			known = append(known, s.env+"_FILE")
		}
	}
	text := asset(t, "compose/compose.yaml") + asset(t, "kubernetes/kustomization.yaml") + asset(t, "kubernetes/deployment.yaml") +
		asset(t, "helm/customersync/values.yaml") + asset(t, "helm/customersync/templates/configmap.yaml") + asset(t, "helm/customersync/templates/deployment.yaml") +
		asset(t, "Dockerfile") + asset(t, "Dockerfile.release") + asset(t, "systemd/customersync.service") +
		asset(t, "terraform/variables.tf") + asset(t, "terraform/outputs.tf") + asset(t, "auth0/tenant.yaml") +
		asset(t, "docs/runbook.md") + asset(t, "docs/metrics.md") + asset(t, "README.md") + strings.Join(exampleEnv(t, true), "\n")
	named := regexp.MustCompile(`\b(?:CUSTOMERSYNC_[A-Z_]+|AUTH0_[A-Z_]+|DATABASE_URL(?:_FILE)?)\b`).FindAllString(text, -1)
	if len(named) < 30 {
		t.Fatalf("%d settings are named", len(named))
	}
	for _, name := range named {
		if !slices.Contains(known, name) {
			t.Errorf("%s is no setting", name)
		}
	}
}

func TestTheSettingsThatAreDeployedAreWhole(t *testing.T) {
	t.Parallel()
	services := composeServices(t)
	var compose []string
	for name, value := range services["customersync"].Environment {
		compose = append(compose, name+"="+value)
	}
	for what, env := range map[string][]string{"compose.yaml": compose, "customersync.env.example": exampleEnv(t, false)} {
		if o := runProgram(t, env, "check"); o.code != exitOK {
			t.Errorf("%s: %s", what, o.stderr)
		}
	}
	if o := runProgram(t, nil, append(services["auth0"].Command, "--help")...); o.code != exitOK {
		t.Errorf("the simulator of compose.yaml: %s", o.stderr)
	}
	sim := strings.Join(services["auth0"].Command, " ")
	for _, secret := range []string{"CUSTOMERSYNC_ACTION_SECRETS", "CUSTOMERSYNC_EVENT_STREAM_TOKENS"} {
		if !strings.Contains(sim, services["customersync"].Environment[secret]) {
			t.Errorf("the simulator of compose.yaml delivers with another %s", secret)
		}
	}
}

// Helm reads no file outside its chart.
func TestTheChartHasTheAlerts(t *testing.T) {
	t.Parallel()
	if asset(t, "helm/customersync/alerts.yaml") != asset(t, "prometheus/alerts.yaml") {
		t.Error("deploy/helm/customersync/alerts.yaml is not as deploy/prometheus/alerts.yaml: make docs")
	}
}

// The roads to a set-up tenant make the same Actions.
func TestTerraformAndTheDeployToolMakeTheActionsThatSetupMakes(t *testing.T) {
	t.Parallel()
	module, tenant := asset(t, "terraform/main.tf"), asset(t, "auth0/tenant.yaml")
	if !strings.Contains(module, `"customersync ${each.key}"`) {
		t.Error("main.tf names its Actions otherwise")
	}
	for _, a := range actions() {
		if want := a.Trigger + ` *= \{ version = "` + a.Version + `", file = "` + a.Trigger + `.js" \}`; !regexp.MustCompile(want).MatchString(module) {
			t.Errorf("main.tf has no Action for %s %s", a.Trigger, a.Version)
		}
		want := `(?s)- name: ` + a.Name + `\n    code: ./` + a.Trigger + `.js\n.*?- id: ` + a.Trigger + `\n        version: ` + a.Version + `\n`
		if !regexp.MustCompile(want).MatchString(tenant) {
			t.Errorf("tenant.yaml has no Action for %s %s", a.Trigger, a.Version)
		}
	}
}

// The permissions that the program asks for are those that tenants are given.
func TestTenantsAreGivenEveryPermission(t *testing.T) {
	t.Parallel()
	quoted := regexp.MustCompile(`= "([a-z]+:[a-z]+)"`)
	for _, file := range []string{"auth.go", "ops/routes.go"} {
		source, err := os.ReadFile("../../api/" + file)
		must(t, err)
		names := quoted.FindAllStringSubmatch(string(source), -1)
		if len(names) < 3 {
			t.Errorf("api/%s: %d permissions found", file, len(names))
		}
		for _, name := range names {
			for _, assets := range []string{"auth0/tenant.yaml", "terraform/main.tf", "auth0/README.md"} {
				if !strings.Contains(asset(t, assets), name[1]) {
					t.Errorf("%s has no %s", assets, name[1])
				}
			}
		}
	}
}
