package pglocal_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/ahiko-io/customersync/store/pglocal"
)

// asOwner has the test binary start a server in the folder it names, say so, and
// wait to be killed.
const asOwner = "CUSTOMERSYNC_TEST_OWN_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asOwner); dir != "" {
		server, err := pglocal.Start(context.Background(), pglocal.Options{Dir: dir, Durable: true})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("started")
		<-server.Done()
		return
	}
	goleak.VerifyTestMain(m)
}

// folder is a place for data that Postgres' own user can reach.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pglocal-")
	must(t, err)
	must(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "pg")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, dir string) *pglocal.Server {
	t.Helper()
	s, err := pglocal.Start(t.Context(), pglocal.Options{Dir: dir})
	must(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	return s
}

func exec1(t *testing.T, dsn, statement string) error {
	t.Helper()
	connector, err := pq.NewConnector(dsn)
	must(t, err)
	db := sql.OpenDB(connector)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), statement)
	return err
}

// own starts a process that owns the server of dir. As another user if uid is not 0.
func own(t *testing.T, dir string, uid uint32) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	if uid != 0 {
		binary := filepath.Join(filepath.Dir(dir), "test-binary") // go test's own folder is closed to others
		content, err := os.ReadFile(os.Args[0])
		must(t, err)
		must(t, os.WriteFile(binary, content, 0o755))
		cmd = exec.Command(binary)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = filepath.Dir(dir)
	}
	cmd.Env = append(os.Environ(), asOwner+"="+dir, "HOME=/nonexistent")
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	said := make([]byte, 1000)
	n, err := stdout.Read(said)
	if err != nil || string(said[:n]) != "started\n" {
		t.Fatalf("owner: %s%v", said[:n], err)
	}
	return cmd
}

func TestDataOutlivesTheServer(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := start(t, dir)
	must(t, exec1(t, s.DSN(), `create table kept (i int)`))
	must(t, s.Stop())
	select {
	case <-s.Done():
	default:
		t.Error("Stop returned before the server had ended")
	}
	must(t, exec1(t, start(t, dir).DSN(), `insert into kept values (1)`))
}

func TestASecondProcessUsesTheServerOfTheFirst(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	own(t, dir, 0)
	s := start(t, dir)
	must(t, exec1(t, s.DSN(), `create table shared (i int)`))
	must(t, s.Stop())
	must(t, exec1(t, s.DSN(), `insert into shared values (1)`)) // it was not ours to stop
}

func TestAKilledOwnerLeavesNothingRunningAndTheNextRecovers(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	owner := own(t, dir, 0)
	s := start(t, dir)
	must(t, exec1(t, s.DSN(), `create table kept (i int)`))
	postmaster := postmasterOf(t, dir)
	must(t, owner.Process.Kill())
	_ = owner.Wait() // it was killed; until it has ended, its server can still be joined
	again := start(t, dir)
	must(t, exec1(t, again.DSN(), `insert into kept values (1)`))
	// A process that ended may stay as a zombie for whoever adopted it.
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", postmaster)); err == nil && len(line) > 0 {
		t.Errorf("the old server still runs: %s", line)
	}
}

// The number in a left-over postmaster.pid may belong to any process by now, and
// even to one that works on the same folder.
func TestAStalePidThatAnotherProcessHasNeitherPreventsTheStartNorEndsThatProcess(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	must(t, start(t, dir).Stop())
	other := exec.Command("sh", "-c", "read line", "postgres", "-D", dir+"/data")
	stdin, err := other.StdinPipe()
	must(t, err)
	must(t, other.Start())
	leave(t, dir, fmt.Sprintf("%d\n%s/data\n%d\n5432\n%s/socket\n\n", other.Process.Pid, dir, time.Now().Unix(), dir))
	must(t, exec1(t, start(t, dir).DSN(), `select 1`))
	_, err = stdin.Write([]byte("go on\n"))
	must(t, errors.Join(err, other.Wait()))
}

func TestAPidFileThatACrashLeftEmptyDoesNotPreventTheStart(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	must(t, start(t, dir).Stop())
	leave(t, dir, "")
	must(t, exec1(t, start(t, dir).DSN(), `select 1`))
}

// leave writes a postmaster.pid as a server of that folder would have.
func leave(t *testing.T, dir, content string) {
	t.Helper()
	path := filepath.Join(dir, "data", "postmaster.pid")
	must(t, os.WriteFile(path, []byte(content), 0o644))
	info, err := os.Stat(filepath.Join(dir, "data"))
	must(t, err)
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		must(t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
	}
}

func TestDataOfAnotherMajorVersionIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	must(t, start(t, dir).Stop())
	version := filepath.Join(dir, "data", "PG_VERSION")
	made, err := os.ReadFile(version)
	must(t, err)
	must(t, os.WriteFile(version, []byte("9\n"), 0o644))
	_, err = pglocal.Start(t.Context(), pglocal.Options{Dir: dir})
	for _, want := range []string{"made by Postgres 9,", "is Postgres " + strings.TrimSpace(string(made))} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %q in: %v", want, err)
		}
	}
	must(t, os.WriteFile(version, made, 0o644))
	must(t, exec1(t, start(t, dir).DSN(), `select 1`)) // the data are as they were
}

// deep is a folder whose path is too long for a socket.
func deep(t *testing.T) string {
	t.Helper()
	parent := filepath.Join(folder(t), strings.Repeat("deep/", 25))
	must(t, os.MkdirAll(parent, 0o755)) // Postgres' own user must get there
	must(t, os.Chmod(parent, 0o777))    // and whoever else a test has
	return filepath.Join(parent, "pg")
}

func socketsOf(s *pglocal.Server) string {
	_, sockets, _ := strings.Cut(s.DSN(), "host=")
	return strings.ReplaceAll(sockets, "%2F", "/")
}

func TestADeepFolderGetsAShortSocket(t *testing.T) {
	t.Parallel()
	dir := deep(t)
	s := start(t, dir)
	must(t, exec1(t, s.DSN(), `select 1`))
	must(t, s.Stop())
	if _, err := os.Stat(socketsOf(s)); !os.IsNotExist(err) {
		t.Errorf("%s was left behind: %v", socketsOf(s), err)
	}
}

func TestALinkInPlaceOfTheFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	must(t, os.Symlink("/tmp", dir))
	if _, err := pglocal.Start(t.Context(), pglocal.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not a folder of ours") {
		t.Errorf("got %v", err)
	}
}

func TestAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	places := map[string]func(*testing.T) string{"in a folder": folder, "in a deep folder": deep}
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := place(t)
			if os.Getuid() == 0 { // else we are one
				must(t, os.Chmod(filepath.Dir(dir), 0o777))
				own(t, dir, 65534) // root joins it
			}
			s := start(t, dir)
			t.Cleanup(func() { _ = os.RemoveAll(socketsOf(s)) }) // its owner is killed, not stopped
			must(t, exec1(t, s.DSN(), `select 1`))
		})
	}
}

func TestAFolderThatRootStartedIsItsOwnersTheNextTime(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		return // only root starts servers for others
	}
	dir := folder(t)
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Chown(dir, 65534, 65534))
	must(t, start(t, dir).Stop())
	own(t, dir, 65534)
}

func TestWhatRootCannotGiveToPostgresIsRefusedInWords(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		return // only root has the trouble
	}
	shared, closed := folder(t), folder(t)
	must(t, os.Mkdir(shared, 0o755))
	must(t, os.WriteFile(filepath.Join(shared, "of-others"), nil, 0o600))
	must(t, os.Mkdir(closed, 0o700))
	for dir, want := range map[string]string{
		"/root/customersync":              "cannot enter /root:",
		filepath.Join(closed, "pg"):       "cannot enter " + closed + ":",
		shared:                            "belongs to root and is not empty",
		filepath.Join(shared, "../pg/.."): "belongs to root and is not empty",
	} {
		if _, err := pglocal.Start(t.Context(), pglocal.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", dir, err, want)
		}
	}
	info, err := os.Stat(shared)
	must(t, err)
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || owner.Uid != 0 {
		t.Error("root's folder was given away")
	}
}

// Whoever owns the data directory must not make root write elsewhere.
func TestALinkOutOfTheFolderIsNotFollowed(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]string{"the lock": "lock", "the pid file": "data/postmaster.pid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			must(t, start(t, dir).Stop())
			victim := filepath.Join(filepath.Dir(dir), "victim")
			must(t, os.WriteFile(victim, []byte("1\nof others"), 0o600))
			_ = os.Remove(filepath.Join(dir, link)) // a server that ended leaves no pid file
			must(t, os.Symlink(victim, filepath.Join(dir, link)))
			if s, err := pglocal.Start(t.Context(), pglocal.Options{Dir: dir}); err == nil {
				t.Error("no error", s.Stop())
			}
			content, err := os.ReadFile(victim)
			if must(t, err); string(content) != "1\nof others" {
				t.Errorf("it holds %q", content)
			}
		})
	}
}

func TestAServerThatIsFrozenIsAnErrorInTime(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	own(t, dir, 0)
	postmaster := postmasterOf(t, dir)
	must(t, syscall.Kill(postmaster, syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := pglocal.Start(ctx, pglocal.Options{Dir: dir})
	must(t, syscall.Kill(postmaster, syscall.SIGCONT))
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v", err)
	}
}

func postmasterOf(t *testing.T, dir string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	must(t, err)
	number, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(number)
	must(t, err)
	return pid
}

// Not parallel: it changes the environment.
func TestTheEnvironmentNeitherMisleadsUsNorReachesTheServer(t *testing.T) {
	t.Setenv("PGPORT", "6000")
	t.Setenv("PGDATA", "/nowhere")
	t.Setenv("AUTH0_CLIENT_SECRET", "hush")
	dir := folder(t)
	must(t, exec1(t, start(t, dir).DSN(), `select 1`))
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", postmasterOf(t, dir)))
	if err != nil && !os.IsNotExist(err) { // macOS has no such file
		t.Fatal(err)
	}
	if strings.Contains(string(environ), "hush") {
		t.Error("the server was given a secret")
	}
}
