output "client_id" {
  description = "AUTH0_CLIENT_ID of the daemon."
  value       = auth0_client.daemon.client_id
}

output "client_secret" {
  description = "AUTH0_CLIENT_SECRET of the daemon: terraform output -raw client_secret."
  value       = data.auth0_client.daemon.client_secret
  sensitive   = true
}

output "ops_client_id" {
  description = "AUTH0_OPS_CLIENT_ID of the daemon; empty without ops_url."
  value       = one(auth0_client.ops[*].client_id)
}

output "ops_client_secret" {
  description = "AUTH0_OPS_CLIENT_SECRET of the daemon: terraform output -raw ops_client_secret."
  value       = one(data.auth0_client.ops[*].client_secret)
  sensitive   = true
}
