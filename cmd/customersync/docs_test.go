package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// pagesOf returns the texts of all pages of the project, by path.
func pagesOf(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	must(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		pages[path] = string(text)
		return err
	}))
	return pages
}

func TestEveryLinkOfThePagesLeadsSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)
	links := 0
	for page, text := range pagesOf(t) {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), found[1])); err != nil {
				t.Errorf("%s: %s leads nowhere", page, found[1])
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

func TestEveryCommandOfThePagesIsThere(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&cli{}, kong.Name("customersync"))
	must(t, err)
	command := regexp.MustCompile("(?m)(?:^    (?:bin/)?|`(?:bin/)?)customersync ((?:[a-z][a-z0-9]*)(?: [a-z][a-z0-9-]*)?)((?: [^`\n]*)?)")
	flag := regexp.MustCompile(`(?:^|[ \[])(--[a-z][a-z0-9-]*)`)
	commands := 0
	for page, text := range pagesOf(t) {
		for _, found := range command.FindAllStringSubmatch(text, -1) {
			commands++
			node, rest := parser.Model.Node, strings.Fields(found[1])
			for len(rest) > 0 && len(node.Children) > 0 {
				next := child(node, rest[0])
				if next == nil {
					t.Errorf("%s: there is no customersync %s", page, found[1])
					break
				}
				node, rest = next, rest[1:]
			}
			for _, one := range flag.FindAllStringSubmatch(found[2], -1) {
				if !hasFlag(node, one[1]) {
					t.Errorf("%s: customersync %s has no %s", page, found[1], one[1])
				}
			}
		}
	}
	if commands < 20 {
		t.Errorf("only %d commands were found", commands)
	}
}

// child is the command of this name below a node, or below the one that it stands for.
func child(node *kong.Node, name string) *kong.Node {
	for _, one := range node.Children {
		if one.Name == name {
			return one
		}
	}
	if node.DefaultCmd != nil {
		return node.DefaultCmd
	}
	return nil
}

func hasFlag(node *kong.Node, flag string) bool {
	if node.DefaultCmd != nil && hasFlag(node.DefaultCmd, flag) {
		return true
	}
	for _, group := range node.AllFlags(false) {
		for _, one := range group {
			if "--"+one.Name == flag {
				return true
			}
		}
	}
	return false
}
