// The views by the first word of the address, loaded when they are first shown. Those that are no part of another are in the navigation.
import { words } from "./words.js";

const t = words({
  now: ["Now", "当前"],
  jobs: ["Jobs", "任务"],
  batches: ["Batches", "批次"],
  send: ["Send work", "提交"],
  fleet: ["Fleet", "集群"],
  webhooks: ["Webhooks", "回调"],
  presets: ["Presets", "预设"],
  job: ["Job", "任务"],
  batch: ["Batch", "批次"],
  watch: ["Watch", "观看"],
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
  job: { title: titled("job"), isPart: true, load: () => import("./views/job.js") },
  batch: { title: titled("batch"), isPart: true, load: () => import("./views/batch.js") },
  watch: { title: titled("watch"), isPart: true, load: () => import("./views/watch.js") },
};
