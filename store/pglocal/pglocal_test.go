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
	os.Exit(m.Run())
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
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	must(t, err)
	number, _, _ := strings.Cut(string(content), "\n")
	postmaster, err := strconv.Atoi(number)
	must(t, err)
	must(t, owner.Process.Kill())
	again := start(t, dir)
	must(t, exec1(t, again.DSN(), `insert into kept values (1)`))
	// A process that ended may stay as a zombie for whoever adopted it.
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", postmaster)); err == nil && len(line) > 0 {
		t.Errorf("the old server still runs: %s", line)
	}
}

// The number in a left-over postmaster.pid may belong to any process by now.
func TestAStalePidThatAnotherProcessHasDoesNotPreventTheStart(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	must(t, start(t, dir).Stop())
	stale := fmt.Sprintf("%d\n%s/data\n%d\n5432\n%s/socket\n\n", os.Getppid(), dir, time.Now().Unix(), dir)
	path := filepath.Join(dir, "data", "postmaster.pid")
	must(t, os.WriteFile(path, []byte(stale), 0o644))
	info, err := os.Stat(filepath.Join(dir, "data"))
	must(t, err)
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		must(t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
	}
	must(t, exec1(t, start(t, dir).DSN(), `select 1`))
}

func TestDataOfAnotherMajorVersionIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	must(t, start(t, dir).Stop())
	version := filepath.Join(dir, "data", "PG_VERSION")
	must(t, os.WriteFile(version, []byte("9\n"), 0o644))
	_, err := pglocal.Start(t.Context(), pglocal.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "made by Postgres 9") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "base")); err != nil {
		t.Errorf("the data are gone: %v", err)
	}
}

func TestADeepFolderGetsAShortSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), strings.Repeat("deep/", 25))
	if os.Getuid() == 0 { // Postgres' own user must get there
		must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
		for d := dir; filepath.Base(d) != "pg"; d = filepath.Dir(d) {
			_ = os.Chmod(filepath.Dir(d), 0o755)
		}
	}
	s := start(t, dir)
	must(t, exec1(t, s.DSN(), `select 1`))
	must(t, s.Stop())
	_, sockets, _ := strings.Cut(s.DSN(), "host=")
	if _, err := os.Stat(strings.ReplaceAll(sockets, "%2F", "/")); !os.IsNotExist(err) {
		t.Errorf("%s was left behind: %v", sockets, err)
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
	if os.Getuid() != 0 {
		must(t, exec1(t, start(t, folder(t)).DSN(), `select 1`)) // we are one
		return
	}
	dir := folder(t)
	must(t, os.Chmod(filepath.Dir(dir), 0o777))
	own(t, dir, 65534)
	must(t, exec1(t, start(t, dir).DSN(), `select 1`))
}

func TestRootsHomeIsRefusedInWords(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		return // only root has the trouble
	}
	_, err := pglocal.Start(t.Context(), pglocal.Options{Dir: "/root/customersync"})
	if err == nil || !strings.Contains(err.Error(), "/root") {
		t.Errorf("got %v", err)
	}
}

func TestNoPostgresSaysWhereItLookedAndTheWaysOut(t *testing.T) {
	// Not parallel: it changes the PATH.
	t.Setenv("PATH", t.TempDir())
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		dir := folder(t)
		must(t, exec1(t, start(t, dir).DSN(), `select 1`)) // found without the PATH
		return
	}
	_, err := pglocal.Start(t.Context(), pglocal.Options{Dir: folder(t)})
	if !errors.Is(err, pglocal.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"PATH", "make postgres", "DATABASE_URL", "brew install"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %s in: %v", want, err)
		}
	}
}
