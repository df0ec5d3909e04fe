/**
 * Auth0 Action for the trigger post-login: tells customersync of somebody's first
 * login through a social connection, for which Auth0 has no registration trigger.
 *
 * It runs at every login and blocks it, so it does nothing but on the first, and
 * gives up sooner than its twin, post-user-registration.js. An Action is one file:
 * that is why the two share their text.
 *
 * Secrets: SYNC_URL     https://your-host/webhooks/auth0
 *          SYNC_SECRET  whsec_… , one of CUSTOMERSYNC_ACTION_SECRETS
 *
 * The call is signed by Standard Webhooks. It is repeated by itself, since Auth0
 * does not repeat an Action; what gets lost all the same is found by the worker.
 */
const crypto = require("node:crypto");

const ATTEMPTS = 2; // somebody waits at the login page meanwhile
const TIMEOUT_MS = 1500;
const FIRST_WAIT_MS = 200;

exports.onExecutePostLogin = async (event) => {
  // logins_count may skip 1 or show it twice; deliveries are harmless twice, and
  // the worker finds who was skipped.
  if (event.stats.logins_count !== 1 || ["auth0", "email", "sms"].includes(event.connection.strategy)) return;
  await report("post-login", event);
};

async function report(type, event) {
  const user = event.user;
  const body = JSON.stringify({
    type,
    tenant: event.tenant.id,
    connection: { id: event.connection.id, name: event.connection.name, strategy: event.connection.strategy },
    user: {
      user_id: user.user_id,
      email: user.email,
      email_verified: user.email_verified,
      created_at: user.created_at,
      updated_at: user.updated_at,
      app_metadata: { customer_id: (user.app_metadata || {}).customer_id },
    },
  });
  // The event has no id: the same sign-up must get the same one each time.
  const digest = crypto.createHash("sha256").update([type, user.user_id, user.created_at].join("\n")).digest("hex");
  const id = "act_" + digest.slice(0, 32);
  let last = "";
  for (let attempt = 0, wait = FIRST_WAIT_MS; attempt < ATTEMPTS; attempt++, wait *= 2) {
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    try {
      const response = await fetch(event.secrets.SYNC_URL, {
        method: "POST",
        body,
        headers: { "content-type": "application/json", ...sign(id, body, event.secrets.SYNC_SECRET) },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.ok) return;
      last = "status " + response.status;
      if (response.status >= 400 && response.status < 500 && response.status !== 429) break;
    } catch (error) {
      last = error.name;
    }
  }
  console.log(`customersync was not told of ${user.user_id}: ${last}. The worker will find the user.`);
}

// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
function sign(id, body, secret) {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const signature = crypto.createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}` };
}
