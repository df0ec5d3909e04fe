package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// program is a running process whose costs are read from /proc.
type program struct {
	cmd *exec.Cmd
	log *os.File
}

// start runs a program, its output going to NAME.log in dir.
func start(ctx context.Context, dir, name string, env []string, path string, args ...string) (*program, error) {
	log, err := os.Create(filepath.Join(dir, name+".log")) //nolint:gosec // our own scratch space
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // one of ours
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &program{cmd, log}, nil
}

func (p *program) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself: Wait tells
	return errors.Join(p.cmd.Wait(), p.log.Close())
}

// toItsEnd waits until the program ends by itself, and returns its memory at its peak.
// It is asked for all the time: what the system tells of a process that has ended
// (getrusage(2)) begins with the memory of the one that started it.
func (p *program) toItsEnd() (peak int64, err error) {
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return peak, errors.Join(err, p.log.Close())
		case <-time.After(20 * time.Millisecond):
			if now, err := p.memory(memoryPeak); err == nil { // else it has just ended
				peak = max(peak, now)
			}
		}
	}
}

// ticksPerSecond is the unit of /proc/PID/stat: USER_HZ is 100 on all Linux that Go runs on.
const ticksPerSecond = 100

// cpu is the time that the process has spent on processors.
func (p *program) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// Behind the name, which may have anything in it: fields 14 and 15 of proc_pid_stat(5).
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / ticksPerSecond, errors.Join(err, err2)
}

// Memory of a process, as proc_pid_status(5) names it.
const (
	memoryNow  = "VmRSS"
	memoryPeak = "VmHWM"
	memoryOwn  = "RssAnon" // without the pages of the program's file, which cost nobody anything
)

// memory is in bytes.
func (p *program) memory(which string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, which+":"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", p.cmd.Process.Pid, which)
}

// forgetPeak makes the peak the memory of now (proc_pid_clear_refs(5)).
func (p *program) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0o600)
}
