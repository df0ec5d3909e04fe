//go:build !linux

package main

// unmapProgram does nothing: it is known of Linux alone that it is of use.
func unmapProgram() error { return nil }
