// The views by the first word of the address. Those with a title are in the navigation.
import { words } from "./words.js";
import * as batch from "./views/batch.js";
import * as batches from "./views/batches.js";
import * as fleet from "./views/fleet.js";
import * as job from "./views/job.js";
import * as jobs from "./views/jobs.js";
import * as now from "./views/now.js";
import * as presets from "./views/presets.js";
import * as send from "./views/send.js";
import * as watch from "./views/watch.js";
import * as webhooks from "./views/webhooks.js";

const t = words({
  now: ["Now", "当前"],
  jobs: ["Jobs", "任务"],
  batches: ["Batches", "批次"],
  send: ["Send work", "提交"],
  fleet: ["Fleet", "集群"],
  webhooks: ["Webhooks", "回调"],
  presets: ["Presets", "预设"],
});
const titled = (key) => () => t(key);

export const VIEWS = {
  now: { ...now, title: titled("now") },
  jobs: { ...jobs, title: titled("jobs") },
  batches: { ...batches, title: titled("batches") },
  send: { ...send, title: titled("send") },
  fleet: { ...fleet, title: titled("fleet"), operators: true },
  webhooks: { ...webhooks, title: titled("webhooks") },
  presets: { ...presets, title: titled("presets") },
  job,
  batch,
  watch,
};
