// A plan of the job before it is sent: size, quality, time and dollars, and a button to send the job by it.
import { submit } from "./submit.js";
import { ask } from "../api.js";
import { Fault, Figure, Progress } from "../parts.js";
import { NONE, bitrate, bytes, decimal, dollars, seconds } from "../format.js";
import { attempt } from "../notices.js";
import { hasEnded, stateWord } from "../records.js";
import { words } from "../words.js";
import { html, useEffect, useState } from "../../vendor/libraries.js";

const t = words({
  plan: ["Plan", "预估"],
  make: ["Plan it first", "先做预估"],
  why: ["A worker looks at short parts of the film and writes nothing. It takes up to a minute.", "工作节点只分析影片的几个短片段，不写入任何文件，最多一分钟。"],
  size: ["Size", "大小"], quality: ["Predicted VMAF", "预计 VMAF"], time: ["Time of one worker", "单个节点用时"], cost: ["Cost", "费用"],
  rung: ["Output", "输出"], codec: ["Codec", "编码"], rate: ["Bit rate", "码率"],
  send: ["Send by this plan", "按此预估提交"],
  changed: ["The form has changed since: plan again to send by a plan.", "表单已更改，请重新预估。"],
  cancel: ["Cancel the plan", "取消预估"],
});
const EVERY_MS = 2000;

// `plan` is { content, planID, record }: the body as text, and the record once the API has it.
export function Plan({ body, isBusy, sendBy, refused }) {
  const [plan, setPlan] = useState(null);
  const [error, setError] = useState(null);
  const content = JSON.stringify(body);
  const isOpen = plan && !hasEnded(plan.record?.state);
  const make = async () => {
    setError(null);
    try {
      const { planID } = await submit("/v1/plans", body);
      setPlan({ content, planID, record: null });
    } catch (thrown) {
      refused(thrown);
    }
  };
  useEffect(() => {
    if (!isOpen) return undefined;
    let timer, isOver = false;
    const look = async () => {
      try {
        const record = await ask("GET", `/api/v1/plans/${plan.planID}`);
        if (isOver) return;
        setPlan((now) => (now?.planID === plan.planID ? { ...now, record } : now));
        setError(null);
      } catch (thrown) {
        setError(thrown);
      }
      if (!isOver) timer = setTimeout(look, EVERY_MS);
    };
    look();
    return () => { isOver = true; clearTimeout(timer); };
  }, [plan?.planID, isOpen]);
  const cancel = () => attempt(async () => { await ask("DELETE", `/api/v1/jobs/${plan.planID}`); setPlan(null); });
  return html`
    <section><h2>${t("plan")}</h2>
      <p class="quiet">${t("why")}</p>
      <div class="actions"><button type="button" disabled=${isOpen || isBusy} onClick=${make}>${t("make")}</button>
        ${isOpen && html`<button type="button" onClick=${cancel}>${t("cancel")}</button>`}</div>
      <div aria-live="polite">${plan && html`<${Outcome} record=${plan.record} />`}</div>
      <${Fault} error=${error} />
      ${plan?.record?.state === "finished" && (plan.content === content
        ? html`<button type="button" class="primary" disabled=${isBusy} onClick=${() => sendBy(plan.record)}>${t("send")}</button>`
        : html`<p class="quiet">${t("changed")}</p>`)}
    </section>`;
}

function Outcome({ record }) {
  if (!record) return html`<p class="quiet">…</p>`;
  if (record.state === "failed") return html`<p class="fault" role="alert">${record.error?.code}: ${record.error?.message}</p>`;
  if (record.state !== "finished") return html`<p><span class=${`state ${record.state}`}>${stateWord(record.state)}</span> <${Progress} record=${record} /></p>`;
  const rungs = record.rungs ?? [];
  const best = rungs.reduce((most, each) => (each.predictedVmaf > (most ?? -1) ? each.predictedVmaf : most), null);
  return html`
    <dl class="figures"><${Figure} name=${t("size")}>${bytes(rungs.reduce((sum, each) => sum + each.bytes, 0))}</${Figure}>
      <${Figure} name=${t("quality")}>${decimal(best)}</${Figure}><${Figure} name=${t("time")}>${seconds(record.seconds)}</${Figure}>
      <${Figure} name=${t("cost")}>${dollars(record.dollars)}</${Figure}></dl>
    ${rungs.length > 1 && html`<table><thead><tr><th scope="col">${t("rung")}</th><th scope="col">${t("codec")}</th><th scope="col" class="number">${t("rate")}</th>
      <th scope="col" class="number">VMAF</th><th scope="col" class="number">${t("size")}</th></tr></thead>
      <tbody>${rungs.map((each) => html`<tr><td>${each.width}×${each.height}</td><td>${each.codec}</td><td class="number">${bitrate(each.bitrate)}</td>
        <td class="number">${each.predictedVmaf == null ? NONE : decimal(each.predictedVmaf)}</td><td class="number">${bytes(each.bytes)}</td></tr>`)}</tbody></table>`}`;
}
