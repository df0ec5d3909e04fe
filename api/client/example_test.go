package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/ahiko-io/customersync/api/client"
)

// A shop makes a customer, who signs up at Auth0, and shows the first page once the
// two are linked.
func Example() {
	api := httptest.NewServer(standIn()) // in its place: https://customers.acme.example
	defer api.Close()

	customers, err := client.New(client.Config{
		URL:    api.URL,
		AppKey: "0123456789abcdefghijABCDEFGHIJ01", // customersync keys create shop
		Token:  client.StaticToken("…"),            // or what fetches and refreshes one
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	id, err := customers.Create(ctx, client.NewCustomer{FirstName: "Ada", LastName: "Lovelace", EmailAddress: "ada@example.com"})
	if errors.Is(err, client.ErrEmailTaken) {
		log.Fatal("there is a customer with this address")
	}
	if err != nil {
		log.Fatal(err)
	}
	ada, err := customers.WaitActive(ctx, client.ByID(id), 20*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ada.FirstName, ada.Lifecycle, ada.AuthUserID)

	for one, err := range customers.Customers(ctx, client.Filter{Lifecycle: client.Active}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(one.EmailAddress)
	}
	// Output:
	// Ada active auth0|1
	// ada@example.com
}

// standIn answers as customersync would.
func standIn() http.Handler {
	mux := http.NewServeMux()
	say := func(pattern, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, body) })
	}
	say("POST /customer/v1/customers", `{"success":true,"customer_id":"01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11"}`)
	say("GET /customer/v1/customers/{customer_id}", `{"success":true,"data":{"first_name":"Ada","customer_lifecycle":"active","auth_user_id":"auth0|1"}}`)
	say("GET /customer/v1/customers", `{"success":true,"data":[{"customer_id":"01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11","email_address":"ada@example.com"}]}`)
	return mux
}
