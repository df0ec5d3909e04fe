package pglocal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// process is the postmaster.
type process struct {
	cmd  *exec.Cmd
	said *logWriter
	done chan struct{}
}

// spawn starts the postmaster so that it dies with us, even by kill -9. Linux
// ties that to the thread that forked, so one thread is kept for as long as the
// server lives.
func spawn(path string, args []string, a account, log *zap.Logger, done chan struct{}) (*process, error) {
	p := &process{cmd: a.command(context.Background(), path, args...), said: &logWriter{log: log}, done: done}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr.Setpgid = true // a Ctrl-C in the terminal is for us; we stop the server
	dieWithParent(p.cmd.SysProcAttr)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is told by its log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return p, nil
}

// stop asks for a fast shutdown: open transactions are rolled back.
func (p *process) stop(within time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return nil //nolint:nilerr // it has ended already
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
	}
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown; recovery comes with the next start
	<-p.done
	return errors.New("postgres did not stop in time and was made to")
}

func (p *process) lastWords() string { return p.said.last() }

// logWriter passes on what the server logs, and remembers its last lines.
type logWriter struct {
	log  *zap.Logger
	mu   sync.Mutex
	tail []byte
}

// Write implements io.Writer.
func (w *logWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.tail = append(w.tail, b...)
	if over := len(w.tail) - 2000; over > 0 {
		w.tail = bytes.Clone(w.tail[over:])
	}
	w.mu.Unlock()
	// At debug level: a statement in it may hold personal data.
	w.log.Debug("postgres", zap.String("said", strings.TrimSpace(string(b))))
	return len(b), nil
}

func (w *logWriter) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.tail))
}
