// Reads a report off the page's thread: that of a long film has tens of megabytes.
const SHOWN = ["vmaf", "psnr", "ssim", "float_ms_ssim"];

onmessage = async ({ data: url }) => {
  try {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const { frames } = await answer.json();
    const numbers = Float64Array.from(frames, (each) => each.frameNum);
    const seconds = Float64Array.from(frames, (each) => each.seconds ?? NaN);
    const report = { numbers, seconds, metrics: {} };
    for (const name of SHOWN.filter((each) => frames.some(({ metrics }) => metrics[each] !== undefined))) {
      report.metrics[name] = Float32Array.from(frames, ({ metrics }) => metrics[name] ?? NaN);
    }
    postMessage({ report }, [numbers.buffer, seconds.buffer, ...Object.values(report.metrics).map((each) => each.buffer)]);
  } catch (error) {
    postMessage({ error: error.message });
  }
};
