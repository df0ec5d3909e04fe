output "client_id" {
  description = "AUTH0_CLIENT_ID of the daemon."
  value       = auth0_client.daemon.client_id
}

output "client_secret" {
  description = "AUTH0_CLIENT_SECRET of the daemon: terraform output -raw client_secret."
  value       = data.auth0_client.daemon.client_secret
  sensitive   = true
}
