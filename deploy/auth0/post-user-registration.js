/**
 * Auth0 Action for the trigger post-user-registration: tells customersync that
 * somebody signed up through a database or passwordless connection.
 *
 * Secrets: SYNC_URL     https://your-host/webhooks/auth0
 *          SYNC_SECRET  whsec_… , one of CUSTOMERSYNC_ACTION_SECRETS
 *
 * The call is signed by Standard Webhooks. It is repeated by itself, since Auth0
 * does not repeat an Action; what gets lost all the same is found by the worker.
 */
const { createHash, createHmac } = require("node:crypto");

const TRIGGER = "post-user-registration";
const WAITS_MS = [0, 500, 1000]; // before each attempt
const TIMEOUT_MS = 4000; // all together 13.5 s; Auth0 allows the trigger 20 s

exports.onExecutePostUserRegistration = async (event) => {
  await report(event);
};

// From here on both Actions of customersync are the same.

/** Reports the event's user. Never throws: a report must not break a sign-up. */
async function report(event) {
  let whom = "somebody";
  try {
    const id = eventID(event.user);
    whom = event.user.user_id.includes("@") ? id : event.user.user_id; // no address in the log
    const failure = await deliver(id, event);
    if (failure) {
      console.log(`customersync was not told of ${whom}: ${failure}. The worker will find the user.`);
    }
  } catch (error) {
    console.log(`customersync was not told of ${whom}: ${error.name}. The worker will find the user.`);
  }
}

/** Tries until an answer is final. Returns why not, if it was of no use. */
async function deliver(id, event) {
  const { SYNC_URL: url, SYNC_SECRET: secret } = event.secrets;
  if (!url || !/^whsec_.+/.test(secret)) {
    return "set the secrets SYNC_URL and SYNC_SECRET (whsec_…)";
  }
  const body = JSON.stringify(payload(event));
  let failure = "";
  for (const wait of WAITS_MS) {
    if (wait > 0) {
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
    try {
      const status = await post(url, secret, id, body);
      if (status >= 200 && status < 300) {
        return "";
      }
      failure = `status ${status}`;
      if (status >= 400 && status < 500 && status !== 429) {
        return failure;
      }
    } catch (error) {
      failure = (error.cause && error.cause.code) || error.name;
    }
  }
  return failure;
}

/**
 * One attempt: the id stays, the time is new.
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
async function post(url, secret, id, body) {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  const response = await fetch(url, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": timestamp,
      "webhook-signature": `v1,${signature}`,
    },
    redirect: "manual", // a signed report goes nowhere else
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (response.body) {
    await response.body.cancel();
  }
  return response.status;
}

/** The event has no id: the same sign-up must get the same one each time. */
function eventID(user) {
  const parts = [TRIGGER, user.user_id, text(user.created_at)];
  return "act_" + createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 32);
}

function text(time) {
  return time instanceof Date ? time.toISOString() : time;
}

/** Only what customersync needs of the event. */
function payload({ tenant, connection, user }) {
  return {
    type: TRIGGER,
    tenant: tenant.id,
    connection: { id: connection.id, name: connection.name, strategy: connection.strategy },
    user: {
      user_id: user.user_id,
      email: user.email,
      email_verified: user.email_verified,
      created_at: text(user.created_at),
      updated_at: text(user.updated_at),
      app_metadata: { customer_id: (user.app_metadata || {}).customer_id },
    },
  };
}
