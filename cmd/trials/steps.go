package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// everyStep is more than any scene has.
	everyStep = 1000
	// recoverWithin is how soon after its death what a client wanted must have been
	// done, by the program that was started again.
	recoverWithin = 20 * time.Second
	// tries is how often a step is waited for: a run may begin once more or less.
	tries = 3
)

// steps has the program die at every step of what it has the database do, one after
// the other, and starts it again. The client tries until it is answered. rounds is in
// how many steps of a scene, at most.
func steps(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	got.within = recoverWithin
	if w.binary, err = build(ctx, w.dir, "-tags", "failpoints"); err != nil {
		return got, err
	}
	w.settings = append(w.settings, "CUSTOMERSYNC_PROMOTE_SCHEDULE=@every 1h", "CUSTOMERSYNC_RECONCILE_SCHEDULE=off", "CUSTOMERSYNC_FOLLOW=off",
		"CUSTOMERSYNC_ERASE_KEYS="+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("steps", 7))))
	l, err := newLoad(ctx, w, 1)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	s := stage{load: l, one: l.replicas[0], settings: l.replicas[0].settings, met: map[string]bool{}}
	for _, sc := range scenes() {
		if err := s.everyStep(ctx, &got, sc, rounds, dice); err != nil {
			return got, fmt.Errorf("%s: %w", sc.name, err)
		}
	}
	got.operations = l.ledger.operations()
	w.line("steps: the program died at %d steps; the slowest recovery took %s", got.injected, slices.Max(got.unavailable).Round(time.Millisecond))
	if unseen := s.unseen(); len(unseen) > 0 {
		return got, fmt.Errorf("nobody died in: %s", strings.Join(unseen, ", "))
	}
	return got, nil
}

// stage is where scenes are played.
type stage struct {
	*load
	one      *replica
	settings []string // of a replica that lives
	plays    int
	met      map[string]bool // operations, whether or not a scene is about them
}

// everyStep plays a scene once to see what its steps are, and then once for each.
func (s *stage) everyStep(ctx context.Context, got *result, sc scene, most int, dice *rand.Rand) error {
	all, err := s.rehearse(ctx, sc)
	if err != nil {
		return err
	}
	dice.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	before := got.injected
	for _, at := range all[:min(most, len(all))] {
		took, err := s.dieAt(ctx, sc, at)
		if err != nil {
			return fmt.Errorf("at %s: %w", at, err)
		}
		got.struck(took > 0)
		if took > 0 {
			got.unavailable = append(got.unavailable, took)
		}
		if took > recoverWithin {
			got.wrong = append(got.wrong, fmt.Sprintf("%s: it took %s after it had died at %s", sc.name, took, at))
		}
	}
	s.w.line("steps: %s: died at %d of %d steps", sc.name, got.injected-before, len(all))
	return nil
}

// rehearse plays a scene to see what its steps are. On a busy machine those who should
// come together do not always.
func (s *stage) rehearse(ctx context.Context, sc scene) (steps []string, err error) {
	for range tries {
		if _, err := s.play(ctx, sc, ""); err != nil {
			return nil, err
		}
		if steps, err = s.stepsOf(sc); err == nil {
			break
		}
	}
	return steps, err
}

// dieAt plays a scene in which the program dies, and returns how long it took from its
// death until all was done; 0 if it never came to that step.
func (s *stage) dieAt(ctx context.Context, sc scene, at string) (took time.Duration, err error) {
	for range tries {
		if took, err = s.play(ctx, sc, at); err != nil || took > 0 {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	return took, s.hold(ctx)
}

// hold has the checker look at everything.
func (s *stage) hold(ctx context.Context) error {
	var r result
	err := s.check(ctx, &r)
	return errors.Join(err, r.complaint())
}

// play plays a scene once, by a new process that dies at a step if at is not "".
func (s *stage) play(ctx context.Context, sc scene, at string) (time.Duration, error) {
	s.plays++
	c := s.newClient(0)
	defer c.http.CloseIdleConnections()
	p := s.newSubject()
	if err := sc.set(ctx, c, p); err != nil {
		return 0, fmt.Errorf("set: %w", err)
	}
	if err := s.raise(ctx, sc, p, at); err != nil {
		return 0, err
	}
	played := make(chan error, 1)
	go func() { played <- sc.play(ctx, c, p) }()
	took, err := s.until(ctx, at, played)
	return took, errors.Join(err, s.remember())
}

// raise ends the replica, and starts it to be on the stage.
func (s *stage) raise(ctx context.Context, sc scene, p *subject, at string) error {
	if err := s.end(ctx); err != nil {
		return err
	}
	if err := s.putOff(ctx, sc, p); err != nil {
		return err
	}
	if err := os.RemoveAll(s.script()); err != nil {
		return err
	}
	s.one.settings = append(slices.Clone(s.settings), "CUSTOMERSYNC_STEPS="+s.script(), "CUSTOMERSYNC_DIE_AT="+at)
	if sc.waking {
		return s.one.launch(ctx)
	}
	if err := s.one.start(ctx); err != nil {
		return err
	}
	return until(ctx, giveUp, "the worker to have looked for work", func() bool {
		script, err := os.ReadFile(s.script())
		return err == nil && strings.Contains(string(script), "probe for work/1/2\n")
	})
}

// end is kill -9; nobody is to wait for the end of its leases.
func (s *stage) end(ctx context.Context) error {
	if err := s.one.kill(); err != nil {
		return err
	}
	_, err := s.takeLease(ctx, s.one)
	return err
}

// putOff has nobody looked at but the one whom the program is to look at as it starts:
// of several that are due it would put off some by itself.
func (s *stage) putOff(ctx context.Context, sc scene, p *subject) error {
	_, err := s.w.db.ExecContext(ctx, `
		update customers
		set next_check_at = now() + interval '1 day'
		where next_check_at is not null and not ($1 and id::text = $2)`, sc.waking, p.id)
	return err
}

// until waits for the end of a scene, and for the death in it if there is to be one.
func (s *stage) until(ctx context.Context, at string, played chan error) (time.Duration, error) {
	if at == "" {
		return 0, <-played
	}
	died := make(chan struct{})
	go func() {
		_ = s.one.cmd.Wait() // kill says how it ended
		close(died)
	}()
	struck, err := s.death(died, played)
	if err != nil {
		return 0, err
	}
	from := time.Now()
	if err := s.again(ctx, died); err != nil || !struck {
		return 0, err
	}
	err = <-played
	return time.Since(from), err
}

// death waits until the program has died, or the scene has ended without that. The
// last step of all may come when nobody waits for it any more.
func (s *stage) death(died <-chan struct{}, played chan error) (struck bool, err error) {
	select {
	case <-died:
		return true, nil
	case err := <-played:
		if err != nil {
			return false, err
		}
	}
	played <- nil
	select {
	case <-died:
		return true, nil
	case <-time.After(time.Second):
		return false, nil
	}
}

// again starts a program that has died, or is to die now.
func (s *stage) again(ctx context.Context, died <-chan struct{}) error {
	_ = s.one.cmd.Process.Kill() // it may be dead
	<-died
	if err := s.one.kill(); err != nil {
		return err // it did not die by SIGKILL
	}
	if s.plays%trueEach > 0 {
		if _, err := s.takeLease(ctx, s.one); err != nil {
			return err
		}
	}
	s.one.settings = s.settings
	return s.one.start(ctx)
}

// script is the file in which the program notes its steps.
func (s *stage) script() string { return filepath.Join(s.w.dir, "steps") }

// remember keeps the names of the operations in the script.
func (s *stage) remember() error {
	script, err := os.ReadFile(s.script())
	for line := range strings.Lines(string(script)) {
		s.met[strings.SplitN(line, "/", 2)[0]] = true
	}
	return err
}

// stepsOf are the steps in the script that a scene is about.
func (s *stage) stepsOf(sc scene) (all []string, err error) {
	script, err := os.ReadFile(s.script())
	for line := range strings.Lines(string(script)) {
		at := strings.TrimSpace(line)
		name, rest, _ := strings.Cut(at, "/")
		if slices.Contains(sc.about, name) && (sc.nth == "" || strings.HasPrefix(rest, sc.nth+"/")) {
			all = append(all, at)
		}
	}
	if err == nil && len(all) == 0 {
		err = errors.New("it has no steps")
	}
	return all, err
}

// unseen are the operations that were met and that no scene is about, but for those
// that only read.
func (s *stage) unseen() (names []string) {
	for name := range s.met {
		about := func(sc scene) bool { return slices.Contains(sc.about, name) }
		if !slices.ContainsFunc(scenes(), about) && !slices.Contains(reading, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
