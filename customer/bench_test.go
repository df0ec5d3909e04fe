package customer_test

import (
	"testing"

	"github.com/ahiko-io/customersync/customer"
)

func BenchmarkParseEmail(b *testing.B) {
	for name, address := range map[string]string{"ascii": "Ada.Lovelace@Example.com", "idna": "ada@bücher.de"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := customer.ParseEmail(address); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
