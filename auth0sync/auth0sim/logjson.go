package auth0sim

// json is the entry as Auth0 writes it: members without a value are null.
func (l logEntry) json(t *Tenant) map[string]any {
	entry := map[string]any{
		"_id": l.id, "log_id": l.id, "date": stamp(l.at), "type": l.kind, "description": l.call,
		"client_id": t.o.ClientID, "client_name": "", "ip": "127.0.0.1", "user_agent": "Other 0.0.0 / Other 0.0.0", "isMobile": false,
	}
	for _, name := range []string{
		"connection", "connection_id", "organization_id", "organization_name", "hostname", "user_id", "user_name",
		"audience", "strategy", "strategy_type", "location_info",
	} {
		entry[name] = nil
	}
	switch {
	case l.kind == "sapi":
		entry["details"] = l.describeCall()
	case l.user.ID == "":
		entry["description"], entry["user_name"] = "Wrong email or password.", l.name
	default:
		l.describeUser(t, entry)
	}
	return entry
}

// describeCall is who asked for what. Whom it was about is in the path, and in the
// answer if there was one.
func (l logEntry) describeCall() map[string]any {
	answer := map[string]any{}
	if l.user.ID != "" {
		answer = profile(l.user)
	}
	return map[string]any{
		"request":  map[string]any{"method": l.method, "path": l.path, "query": map[string]any{}, "body": map[string]any{}, "channel": "api"},
		"response": map[string]any{"statusCode": l.status, "body": answer},
	}
}

func (l logEntry) describeUser(t *Tenant, entry map[string]any) {
	via := l.user.Identities[0].Connection
	c, _ := connectionOf(via) // the user signed up through it
	entry["connection"], entry["connection_id"] = via, c.id
	entry["strategy"], entry["strategy_type"] = c.strategy, c.kind
	entry["user_id"], entry["user_name"] = l.user.ID, l.user.Name
	if l.kind == "fp" {
		entry["description"] = "Wrong email or password."
	}
	body := map[string]any{"connection": via, "tenant": t.o.Domain, "client_id": t.o.ClientID, "email_verified": l.user.EmailVerified}
	if l.user.Email != "" {
		body["email"] = l.user.Email
		entry["user_name"] = l.user.Email
	}
	entry["details"] = map[string]any{"body": body}
}

const masked = "***"

// mask is a record without what tells of a person, as log streams can be told to
// make it. User ids stay.
func mask(in any) any {
	switch v := in.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			out[name] = mask(value)
			if personal(name) && value != nil {
				out[name] = masked
			}
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = mask(v[i])
		}
		return out
	}
	return in
}

func personal(name string) bool {
	switch name {
	case "email", "user_name", "username", "name", "nickname", "given_name", "family_name":
		return true
	}
	return false
}
