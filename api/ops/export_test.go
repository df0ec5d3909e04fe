package ops

// Routes are all routes, with what each needs.
func Routes() map[string]string {
	all := map[string]string{}
	for _, r := range (&page{}).routes() {
		all[r.pattern] = string(r.needs)
	}
	return all
}
