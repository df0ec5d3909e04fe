package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// unmapProgram takes the pages of the program's own file out of the memory of this
// process; those that it goes on using come back by themselves, from the system's
// cache. The start touches nearly all of them, and what is mapped by a process is
// the last that the system gives back when it is short.
func unmapProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	file, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	maps, err := unchanged(file, program)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	for _, m := range maps {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}

// mapping is a part of a process' addresses.
type mapping struct{ from, to uintptr }

// unchanged reads smaps, of proc(5), for what is mapped of a file, cannot be written
// and was not: it can be had from the file again. A dynamic linker writes before it
// takes the right to away.
func unchanged(smaps io.Reader, file string) (maps []mapping, err error) {
	var at mapping
	ours := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		var access string
		switch line := lines.Text(); {
		case strings.HasSuffix(line, " "+file):
			_, err = fmt.Sscanf(line, "%x-%x %s", &at.from, &at.to, &access)
			ours = err == nil && !strings.Contains(access, "w")
		case ours && strings.HasPrefix(line, "Anonymous:"):
			if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "0" {
				maps = append(maps, at)
			}
			ours = false
		}
	}
	return maps, errors.Join(err, lines.Err())
}
