package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const (
	// tableRoom and logRoom are the sizes of Postgres' two disks in MiB: enough for
	// what a trial writes.
	tableRoom, logRoom = 512, 192
	// ballast is the file that takes what is left of them.
	ballast = "ballast"
)

// disk has Postgres on two small disks, one for its tables and one for its log, and
// fills them in turn. Without room for its tables it refuses what does not fit;
// without room for its log it ends, and somebody has to start it again.
func disk(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	data := filepath.Join(w.dir, "pg", "data")
	logs := filepath.Join(data, "pg_wal")
	defer func() { err = errors.Join(err, w.leaveDisks(logs, data)) }() //nolint:contextcheck // also when the trial is cut short
	if err := w.onSmallDisks(ctx, data, logs); err != nil {
		return got, fmt.Errorf("small disks, for which root's mount of a tmpfs is needed: %w", err)
	}
	return suffer(ctx, w, rounds, dice,
		illness{name: "disk of the tables", reads: true, partly: true, lasts: refusing, inject: func(context.Context) (func() error, error) {
			return func() error { return empty(data) }, fill(data)
		}},
		illness{name: "disk of the log", partly: true, lasts: refusing, inject: func(ctx context.Context) (func() error, error) {
			return func() error { return errors.Join(empty(logs), w.upAgain(ctx)) }, errors.Join(fill(logs), w.useUpLog(ctx))
		}})
}

// onSmallDisks moves the world's Postgres onto disks of its own.
func (w *world) onSmallDisks(ctx context.Context, data, logs string) (err error) {
	for _, set := range []string{"max_wal_size = '64MB'", "min_wal_size = '32MB'"} {
		if _, err := w.db.ExecContext(ctx, "alter system set "+set); err != nil {
			return err
		}
	}
	if err := w.postgres.Stop(); err != nil {
		return err
	}
	if err := errors.Join(onDisk(ctx, data, tableRoom), onDisk(ctx, logs, logRoom)); err != nil {
		return err
	}
	return w.restartPostgres(ctx)
}

// onDisk makes a folder a small disk with the same in it.
func onDisk(ctx context.Context, folder string, mebibytes int) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.ErrUnsupported
	}
	before := filepath.Join(filepath.Dir(folder), "before")
	if err := errors.Join(os.Rename(folder, before), os.Mkdir(folder, 0o700)); err != nil {
		return err
	}
	options := fmt.Sprintf("size=%dm,mode=0700,uid=%d,gid=%d", mebibytes, owner.Uid, owner.Gid)
	if err := do(ctx, "mount", "-t", "tmpfs", "-o", options, "customersync-trials", folder); err != nil {
		return err
	}
	return errors.Join(do(ctx, "cp", "-a", before+"/.", folder), os.RemoveAll(before))
}

// mountable says what keeps a folder from being made a small disk.
func mountable(ctx context.Context, folder string) error {
	if err := onDisk(ctx, folder, 1); err != nil {
		return err
	}
	return do(ctx, "umount", folder)
}

// leaveDisks ends Postgres, without which the rest of the world can be cleared away.
func (w *world) leaveDisks(disks ...string) error {
	_, _ = w.db.Close(), w.postgres.Stop() // it may have ended
	w.db, w.postgres = nil, nil
	var all error
	for _, folder := range disks {
		if mounted(folder) {
			all = errors.Join(all, do(context.Background(), "umount", "-l", folder)) // its last child may just be ending
		}
	}
	return all
}

// mounted reports whether a folder is a disk of its own.
func mounted(folder string) bool {
	var here, above syscall.Stat_t
	return syscall.Stat(folder, &here) == nil && syscall.Stat(filepath.Dir(folder), &above) == nil && here.Dev != above.Dev
}

func do(ctx context.Context, program string, args ...string) error {
	said, err := exec.CommandContext(ctx, program, args...).CombinedOutput() //nolint:gosec // mount and umount of our own folders
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, said)
	}
	return nil
}

// fill takes all the room there is on a disk.
func fill(folder string) error {
	file, err := os.Create(filepath.Join(folder, ballast)) //nolint:gosec // in our own folder
	if err != nil {
		return err
	}
	for _, size := range []int{1 << 20, 1 << 12} {
		for some := make([]byte, size); err == nil; {
			_, err = file.Write(some)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return errors.Join(err, file.Close())
		}
		err = nil
	}
	return file.Close()
}

func empty(folder string) error { return os.Remove(filepath.Join(folder, ballast)) }

// useUpLog has Postgres begin new files of its log until there is no room for one.
func (w *world) useUpLog(ctx context.Context) error {
	return until(ctx, giveUp, "Postgres to have no room for its log", func() bool {
		_, err := w.db.ExecContext(ctx, "select pg_switch_wal()")
		return err != nil
	})
}

// upAgain waits until Postgres answers, and starts it if it has ended.
func (w *world) upAgain(ctx context.Context) (err error) {
	waited := until(ctx, giveUp, "postgres to answer", func() bool {
		select {
		case <-w.postgres.Done():
			err = w.restartPostgres(ctx)
		default:
		}
		return err != nil || w.db.PingContext(ctx) == nil
	})
	return errors.Join(waited, err)
}
