# What customersync needs in an Auth0 tenant: the API, the machine application, two
# Actions and, where the plan has it, an Event Stream. It is another way to what
# "customersync setup auth0" does: use one of them.

terraform {
  required_version = ">= 1.5"
  required_providers {
    auth0 = {
      source  = "auth0/auth0"
      version = "~> 1.20"
    }
  }
}

# Credentials come from AUTH0_DOMAIN, AUTH0_CLIENT_ID and AUTH0_CLIENT_SECRET of an
# application that may change the tenant; not from the one that is made here.
provider "auth0" {}

locals {
  permissions = {
    "read:customers"   = "Read every customer"
    "create:customers" = "Create customers"
    "update:customers" = "Change and link customers"
    "delete:customers" = "Close customers"
    "erase:customers"  = "Erase customers, and all that is known of them"
    "ops:read"         = "See the operator page"
    "ops:pii"          = "Have e-mail addresses revealed on the operator page"
    "ops:act"          = "Act on customers on the operator page"
  }
  actions = {
    post-user-registration = { version = "v2", file = "post-user-registration.js" }
    post-login             = { version = "v3", file = "post-login.js" }
  }
}

# The API that apps ask for access tokens to. Staff get permissions by roles.
resource "auth0_resource_server" "api" {
  name                                            = "customersync"
  identifier                                      = var.audience
  signing_alg                                     = "RS256"
  token_lifetime                                  = 3600
  enforce_policies                                = true
  token_dialect                                   = "access_token_authz"
  skip_consent_for_verifiable_first_party_clients = true
}

resource "auth0_resource_server_scopes" "api" {
  resource_server_identifier = auth0_resource_server.api.identifier

  dynamic "scopes" {
    for_each = local.permissions
    content {
      name        = scopes.key
      description = scopes.value
    }
  }
}

# The machine application that the daemon asks Auth0 as. It reads, and no more.
resource "auth0_client" "daemon" {
  name        = "customersync"
  description = "Reads users for customersync"
  app_type    = "non_interactive"
  grant_types = ["client_credentials"]
}

resource "auth0_client_grant" "daemon" {
  client_id = auth0_client.daemon.id
  audience  = "https://${var.tenant_domain}/api/v2/"
  scopes    = var.daemon_scopes
}

data "auth0_client" "daemon" {
  client_id = auth0_client.daemon.id
}

# The application that people sign in to the operator page by. Give them the permissions
# ops:… by roles.
resource "auth0_client" "ops" {
  count = var.ops_url == "" ? 0 : 1

  name                = "customersync operator page"
  description         = "Sign-in to the operator page of customersync"
  app_type            = "regular_web"
  oidc_conformant     = true
  grant_types         = ["authorization_code"]
  callbacks           = ["${var.ops_url}/ops/callback"]
  allowed_logout_urls = ["${var.ops_url}/ops/signed-out"]
}

data "auth0_client" "ops" {
  count = var.ops_url == "" ? 0 : 1

  client_id = auth0_client.ops[0].id
}

resource "auth0_action" "report" {
  for_each = local.actions

  name    = "customersync ${each.key}"
  runtime = "node22"
  deploy  = true
  code    = file("${path.module}/../auth0/${each.value.file}")

  supported_triggers {
    id      = each.key
    version = each.value.version
  }

  secrets {
    name  = "SYNC_URL"
    value = var.webhook_url
  }

  secrets {
    name  = "SYNC_SECRET"
    value = var.action_secret
  }
}

# One binding each: other Actions of the flow stay where they are.
resource "auth0_trigger_action" "report" {
  for_each = auth0_action.report

  trigger      = each.key
  action_id    = each.value.id
  display_name = each.value.name
}

resource "auth0_event_stream" "users" {
  count = var.event_stream_token == "" ? 0 : 1

  # The daemon enables and mends a stream of its own alone, which it knows by a name
  # that "customersync setup auth0" makes; this one is Terraform's to look after.
  name             = "customersync"
  destination_type = "webhook"
  subscriptions    = ["user.created", "user.updated", "user.deleted"]

  webhook_configuration {
    webhook_endpoint = var.webhook_url

    webhook_authorization {
      method = "bearer"
      token  = var.event_stream_token
    }
  }
}
