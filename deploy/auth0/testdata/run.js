// Runs an Action as Auth0 does: node run.js FILE HANDLER < event. The waits that it
// asks for between attempts are divided by 1000, the timeouts by TIMEOUT_SPEED.
// Prints what it asked for, logged and threw.
const { readFileSync } = require("node:fs");

const [file, handler] = process.argv.slice(2);
const seen = { waits: [], timeouts: [], logs: [], threw: "" };

// The Action alone gets these: fetch has timers of its own.
const given = {
  require,
  exports: {},
  setTimeout: (f, ms) => {
    seen.waits.push(ms);
    return setTimeout(f, ms / 1000);
  },
  AbortSignal: {
    timeout: (ms) => {
      seen.timeouts.push(ms);
      return AbortSignal.timeout(ms / Number(process.env.TIMEOUT_SPEED));
    },
  },
  console: { log: (...line) => seen.logs.push(line.join(" ")) },
};
new Function(...Object.keys(given), readFileSync(file, "utf8"))(...Object.values(given));

const event = JSON.parse(readFileSync(0, "utf8"));
if (event.user.times_are_dates) {
  event.user.created_at = new Date(event.user.created_at);
  event.user.updated_at = new Date(event.user.updated_at);
}
given.exports[handler](event)
  .catch((error) => (seen.threw = String(error)))
  .then(() => process.stdout.write(JSON.stringify(seen)));
