variable "tenant_domain" {
  description = "The tenant's own domain, such as acme.eu.auth0.com, not a custom one: the Management API is named by it."
  type        = string
}

variable "audience" {
  description = "Identifier of the API: AUTH0_AUDIENCE."
  type        = string
}

variable "webhook_url" {
  description = "Where Auth0 reaches the daemon: https://your-host/webhooks/auth0."
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+/webhooks/auth0$", var.webhook_url))
    error_message = "Expected https://your-host/webhooks/auth0."
  }
}

variable "action_secret" {
  description = "What the Actions sign with: one of CUSTOMERSYNC_ACTION_SECRETS."
  type        = string
  sensitive   = true

  validation {
    condition     = startswith(var.action_secret, "whsec_")
    error_message = "Expected whsec_ and base64: echo \"whsec_$(openssl rand -base64 32)\"."
  }
}

variable "event_stream_token" {
  description = "Bearer token of the Event Stream: one of CUSTOMERSYNC_EVENT_STREAM_TOKENS. Empty: no stream, for plans without one."
  type        = string
  sensitive   = true
  default     = ""
}

variable "ops_url" {
  description = "Where people open the operator page: CUSTOMERSYNC_OPS_URL, without a slash at its end. Empty: nobody signs in to it."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https://[^/]+)?$", var.ops_url))
    error_message = "Expected https:// and a host, such as https://ops.acme.example."
  }
}

variable "daemon_scopes" {
  description = "Scopes of the daemon: read:users, and what is followed without a webhook."
  type        = list(string)
  default     = ["read:users", "read:events", "read:logs"]
}
