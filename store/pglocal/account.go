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
	"syscall"
)

// account is whom Postgres runs as. The zero account is the caller.
type account struct {
	credential *syscall.Credential
	name       string
}

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

// command is a program run by the account, in a folder that it may enter, with
// no more of our environment than a program needs: ours holds secrets, and the
// account's other processes can read what it is given.
func (a account) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // one of Postgres' own programs, or the shell
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=" + locale}
	for _, key := range []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"} {
		if value, ok := os.LookupEnv(key); ok {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
	return cmd
}

// makeDir makes the data directory, and sees that the account can get there.
func (a account) makeDir(ctx context.Context, dir string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // the parents of a private folder
		return fmt.Errorf("data directory: %w", err)
	}
	if a.credential != nil {
		if err := a.command(ctx, "/bin/sh", "-c", `cd "$0"`, parent).Run(); err != nil {
			return fmt.Errorf("data directory %s: Postgres refuses root and runs as %s, who cannot enter %s: choose another, such as /var/lib/customersync (%w)",
				dir, a.name, parent, err)
		}
	}
	return a.makeOwned(dir)
}

// makeOwned makes a folder that only the account (and root) can enter. One that
// is there already must be ours: in /tmp anybody may have been quicker.
func (a account) makeOwned(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return fmt.Errorf("data directory: %w", err)
	}
	info, err := os.Lstat(dir) // not through a link
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir() || !ok:
	case a.credential == nil && int(owner.Uid) == os.Getuid(), a.credential != nil && owner.Uid == a.credential.Uid:
		return nil
	case int(owner.Uid) == os.Getuid():
		return a.giveAway(dir)
	}
	return fmt.Errorf("data directory: %s is not a folder of ours", dir)
}

// giveAway makes a folder of root's the account's. Only an empty one: /srv or
// /tmp, given by mistake, must stay what they are.
func (a account) giveAway(dir string) error {
	content, err := os.ReadDir(dir)
	if err == nil && len(content) > 0 {
		return fmt.Errorf("data directory: %s belongs to root and is not empty: choose a folder of its own, such as %s", dir, filepath.Join(dir, "customersync"))
	}
	if err == nil {
		err = os.Lchown(dir, int(a.credential.Uid), int(a.credential.Gid))
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// openLock opens the file whose lock means to run the server of a folder. It
// becomes the account's, who may start without root the next time.
func (a account) openLock(folder *os.Root) (*os.File, error) {
	lock, err := folder.OpenFile("lock", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, os.ErrExist):
		lock, err = folder.OpenFile("lock", os.O_RDWR, 0)
	case err == nil && a.credential != nil:
		err = lock.Chown(int(a.credential.Uid), int(a.credential.Gid))
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return lock, nil
}

func shortHash(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum32()
}
