package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// frozen stops all processes of Postgres by SIGSTOP: connections stay open, and
// nobody answers.
func frozen(ctx context.Context, w *world, rounds int, dice *rand.Rand) (result, error) {
	return suffer(ctx, w, rounds, dice, illness{name: "frozen", lasts: silent, inject: func(context.Context) (func() error, error) {
		pids, err := w.freeze()
		thaw := func() error { return signalAll(pids, syscall.SIGCONT) }
		if err != nil {
			return nil, errors.Join(err, thaw())
		}
		return thaw, nil
	}})
}

// freeze stops the postmaster, who then makes no more children, and those it has.
func (w *world) freeze() (stopped []int, err error) {
	postmaster, err := w.postmaster()
	if err != nil {
		return nil, err
	}
	stopped = []int{postmaster}
	if err := signalAll(stopped, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	children, err := childrenOf(postmaster)
	if err != nil {
		return stopped, err
	}
	return append(stopped, children...), signalAll(children, syscall.SIGSTOP)
}

// childrenOf is what a process has started, as Linux tells it.
func childrenOf(process int) (pids []int, err error) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", process, process))
	if err != nil {
		return nil, err
	}
	for word := range strings.FieldsSeq(string(list)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func signalAll(pids []int, s syscall.Signal) error {
	var all error
	for _, pid := range pids {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) { // a child may have ended
			all = errors.Join(all, fmt.Errorf("signal %d to process %d: %w", s, pid, err))
		}
	}
	return all
}
