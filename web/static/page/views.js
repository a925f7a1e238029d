// The views by the first word of the address, loaded when they are first shown. Those with a title are in the navigation.
import { words } from "./words.js";

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
  now: { title: titled("now"), load: () => import("./views/now.js") },
  jobs: { title: titled("jobs"), load: () => import("./views/jobs.js") },
  batches: { title: titled("batches"), load: () => import("./views/batches.js") },
  send: { title: titled("send"), load: () => import("./views/send.js") },
  fleet: { title: titled("fleet"), load: () => import("./views/fleet.js"), operators: true },
  webhooks: { title: titled("webhooks"), load: () => import("./views/webhooks.js") },
  presets: { title: titled("presets"), load: () => import("./views/presets.js") },
  job: { load: () => import("./views/job.js") },
  batch: { load: () => import("./views/batch.js") },
  watch: { load: () => import("./views/watch.js") },
};
