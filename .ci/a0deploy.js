// Has auth0-deploy-cli load and validate deploy/auth0/tenant.yaml as it would before it
// calls a tenant. Its package is where NODE_PATH leads.
const fs = require('fs');
const path = require('path');

const folder = path.join(__dirname, '..', 'deploy', 'auth0');
const config = JSON.parse(fs.readFileSync(path.join(folder, 'config.json.example'), 'utf8'));
config.AUTH0_INPUT_FILE = path.join(folder, 'tenant.yaml');
config.AUTH0_ACCESS_TOKEN = 'none: nobody is called';

(async () => {
  const { setupContext } = require('auth0-deploy-cli/lib/context');
  const Auth0 = require('auth0-deploy-cli/lib/tools/auth0').default;
  const context = await setupContext(config, 'import');
  await context.loadAssetsFromLocal();
  const { assets } = context;
  await new Auth0(context.mgmtClient, assets, (key) => config[key]).validate();
  const text = JSON.stringify(assets);
  if (/##\w+##/.test(text)) throw new Error('something is not filled in: ' + text.match(/##\w+##/)[0]);
  for (const action of assets.actions) {
    if (!action.code.includes('SYNC_SECRET')) throw new Error(action.name + ' has no code');
    if (!assets.triggers[action.supported_triggers[0].id].some((b) => b.action_name === action.name)) {
      throw new Error(action.name + ' is bound to no trigger');
    }
  }
  console.log('auth0-deploy-cli: ' + Object.keys(assets).filter((k) => assets[k]).join(', '));
  process.exit(0); // its HTTP client would wait
})().catch((err) => {
  console.error(err.message);
  process.exit(1);
});
