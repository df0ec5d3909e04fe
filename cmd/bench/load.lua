-- What all loads share. A script sets expected and defines request().
expected = 200
wrong = 0
seed = os.getenv("SEED")
customers = tonumber(os.getenv("CUSTOMERS"))
headers = {
  ["ahiko-app-id"] = os.getenv("APP_ID"),
  ["Authorization"] = "Bearer " .. os.getenv("TOKEN"),
  ["Content-Type"] = "application/json",
}
count = 0

function init()
  math.randomseed(os.time())
end

function response(status)
  if status ~= expected then wrong = wrong + 1 end
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
end

function done(summary, latency)
  local wrong = 0
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("wrong") end
  local e = summary.errors
  io.write(string.format(
    'FIGURES {"requests":%d,"seconds":%f,"wrong":%d,"errors":%d,"p50_ms":%f,"p99_ms":%f}\n',
    summary.requests, summary.duration / 1e6, wrong, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
