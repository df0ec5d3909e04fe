package store_test

import (
	"os"
	"testing"

	"github.com/ahiko-io/customersync/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
