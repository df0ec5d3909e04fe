package pglocal

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is whom Postgres runs as. The zero account is the caller.
type account struct {
	credential *syscall.Credential
	name       string
}

func accountOfCaller() account { return account{} }

// serverAccount is the caller or, since Postgres refuses root, whoever the data
// directory belongs to, or else the first of the usual accounts without rights.
func serverAccount(dir string) (account, error) {
	if os.Getuid() != 0 {
		return account{}, nil
	}
	if info, err := os.Lstat(dir); err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
			return account{&syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}, "the owner of that directory"}, nil
		}
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := osuser.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if errors.Join(err1, err2) == nil {
			return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, name}, nil
		}
	}
	return account{}, errors.New("root cannot run Postgres, and there is no user postgres, _postgres or nobody to run it as")
}

// command is a program run by the account, in a folder that it may enter.
func (a account) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the path was found by find
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
	return cmd
}

// makeDir makes the data directory, and sees that the account can get there.
func (a account) makeDir(dir string) error {
	if a.credential != nil && (dir == "/root" || strings.HasPrefix(dir, "/root/")) {
		return fmt.Errorf("data directory %s: Postgres runs as %s, which cannot enter /root: choose another, such as /var/lib/customersync", dir, a.name)
	}
	return a.makeOwned(dir)
}

// makeOwned makes a folder that only the account (and root) can enter. One that
// is there already must be ours: in /tmp anybody may have been quicker.
func (a account) makeOwned(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // the parents of a private folder
		return fmt.Errorf("data directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return fmt.Errorf("data directory: %w", err)
	}
	info, err := os.Lstat(dir) // not through a link
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Getuid() && (a.credential == nil || owner.Uid != a.credential.Uid) {
		return fmt.Errorf("data directory: %s is not a folder of ours", dir)
	}
	if a.credential == nil {
		return nil
	}
	if err := os.Chown(dir, int(a.credential.Uid), int(a.credential.Gid)); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

func shortHash(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum32()
}
