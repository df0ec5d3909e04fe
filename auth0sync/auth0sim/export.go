package auth0sim

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// export is what an export job was asked for.
type export struct {
	connection string // "": all
	limit      int    // 0: none
	fields     []exportField
}

type exportField struct {
	Name string `json:"name"`
	As   string `json:"export_as"`
}

// defaultFields are what an export has that names none. The user id is not among
// them.
func defaultFields() []exportField {
	return []exportField{{Name: "email"}, {Name: "given_name"}, {Name: "family_name"}, {Name: "nickname"}, {Name: "name"}, {Name: "picture"}}
}

// exportOf checks a request; message says what is wrong with it.
func exportOf(request map[string]any) (e export, message string) {
	var body struct {
		Format     string        `json:"format"`
		Connection string        `json:"connection"`
		Limit      int           `json:"limit"`
		Fields     []exportField `json:"fields"`
	}
	if err := json.Unmarshal(encode(request), &body); err != nil {
		return export{}, "Invalid type"
	}
	switch {
	case body.Format != "" && body.Format != "json":
		return export{}, "format: csv is not simulated"
	case body.Limit < 0:
		return export{}, "Value -1 is less than minimum 1 on property limit"
	case slices.ContainsFunc(body.Fields, func(f exportField) bool { return f.Name == "" }):
		return export{}, "Missing required property: name"
	}
	if body.Fields == nil {
		body.Fields = defaultFields()
	}
	return export{body.Connection, body.Limit, distinct(body.Fields)}, ""
}

// distinct are the fields without those whose member is there already.
func distinct(fields []exportField) []exportField {
	var kept []exportField
	for _, f := range fields {
		same := func(k exportField) bool { return cmp.Or(k.As, k.Name) == cmp.Or(f.As, f.Name) }
		if !slices.ContainsFunc(kept, same) {
			kept = append(kept, f)
		}
	}
	return kept
}

// lockedFor is how many users are written while the tenant waits.
const lockedFor = 500

// exported writes the file: a line of JSON for each user, in no order, gzipped.
func (t *Tenant) exported(e export) []byte {
	var file bytes.Buffer
	packed, _ := gzip.NewWriterLevel(&file, gzip.BestSpeed) // the level is a good one
	t.mu.Lock()
	ids := make([]string, 0, len(t.users))
	for id := range t.users {
		ids = append(ids, id)
	}
	cut := t.faults.TruncateExports
	t.mu.Unlock()
	if e.limit == 0 || cut > 0 && cut < e.limit {
		e.limit = cmp.Or(cut, e.limit)
	}
	written := 0
	var lines []byte
	for some := range slices.Chunk(ids, lockedFor) {
		lines = lines[:0]
		t.mu.Lock()
		for _, id := range some {
			u, err := t.get(id)
			if err != nil || e.connection != "" && u.Identities[0].Connection != e.connection || e.limit > 0 && written == e.limit {
				continue
			}
			written++
			lines = e.appendLine(lines, &u)
		}
		t.mu.Unlock()
		_, _ = packed.Write(lines) // to memory
	}
	_ = packed.Close() // to memory
	return file.Bytes()
}

var indexed = regexp.MustCompile(`^(\w+)\[(\d+)\]$`)

// reach follows a path such as identities[0].connection or app_metadata.plan.
func reach(in any, path string) any {
	name, rest, deeper := strings.Cut(path, ".")
	at := -1
	if m := indexed.FindStringSubmatch(name); m != nil {
		name = m[1]
		at, _ = strconv.Atoi(m[2]) // digits, by the pattern
	}
	object, _ := in.(map[string]any)
	value := object[name]
	if at >= 0 {
		list, _ := value.([]map[string]any)
		if at >= len(list) {
			return nil
		}
		value = any(list[at])
	}
	if deeper {
		return reach(value, rest)
	}
	return value
}

// Fill adds so many verified users of the database connection, user0@example.com
// and so on, all at once and without telling anybody, as if they had come over
// the last year. It is for measuring.
func (t *Tenant) Fill(users int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	start := t.now().AddDate(-1, 0, 0)
	for i := range users {
		id := fmt.Sprintf("%024d", i)
		email := fmt.Sprintf("user%d@example.com", i)
		at := start.AddDate(0, 0, i%360)
		u := User{
			ID: "auth0|" + id, Email: email, EmailVerified: true, Name: email, Nickname: email, Picture: picture, CreatedAt: at, UpdatedAt: at,
			Identities: []Identity{{Provider: "auth0", Connection: Database, UserID: id}},
		}
		t.users[u.ID] = &record{states: []state{{at, u, false}}}
		t.byEmail[email] = []string{u.ID}
		t.everEmail[email] = t.byEmail[email]
	}
}
