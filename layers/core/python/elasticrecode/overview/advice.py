"""What to do about failed jobs, by their code. docs/reference/codes.md says what each code means."""

_ADVICE = {
    "input-not-found": "Check the bucket and the key of the input, and send the job again once the object is there.",
    "input-access-denied": "Let the role for jobs read the input and list its bucket; then retry.",
    "input-archived": "Restore the input from its archive tier, wait until that has completed, then retry.",
    "input-encrypted": "Let the role for jobs use the input's KMS key, or store the input without one.",
    "input-refused": "S3 refuses the input: its code is in the message.",
    "input-empty": "Upload the input again: it has no bytes.",
    "input-not-video": "Send a video in a container that workers read, such as mp4, mov, mkv or ts.",
    "input-no-video": "Send an input with video of a codec that can be decoded, or a job for its sound alone.",
    "input-no-audio": "Send an input with sound, or leave the sound out of the job.",
    "input-corrupt": "Play the input and upload it again: the message says how much of it is damaged, and where.",
    "input-sound-corrupt": "Upload the input with whole sound, or send the job without sound.",
    "input-replaced": "Leave the input alone while jobs read it, and send the job again.",
    "input-too-large": "Cut the input, or let workers take larger ones by their limits.",
    "input-too-long": "Cut the input, or let workers take longer ones by their limits.",
    "input-too-many-pixels": "Send a smaller picture, or let workers take larger ones by their limits.",
    "input-too-many-streams": "Send an input with fewer streams, or let workers take more by their limits.",
    "input-dolby-vision": "Provide the input as Dolby Vision profile 8, HDR10, HLG or SDR.",
    "input-still": "Scores need moving pictures: send two videos.",
    "input-no-frames": "Scores need moving pictures: send two videos.",
    "start-beyond-source": "Begin within the film: its start lies behind the last frame.",
    "dynamic-range-unsupported": "Choose 10 bit and a codec that carries HDR, or let the output become SDR.",
    "plan-impossible": "Send the job without a plan: this input cannot be probed.",
    "plan-outdated": "Plan again: the input has changed since.",
    "budget-exceeded": "Raise the budget, or choose a faster profile; the message has the seconds spent.",
    "time-limit": "Choose a faster profile, split the job, or raise the worker's time limit.",
    "memory-limit": "Give workers more memory, or choose a smaller picture.",
    "disk-limit": "Give workers more disk, or send a smaller input.",
    "key-not-found": "Check the secret, or the KMS key, that the package names.",
    "key-access-denied": "Let the role for jobs read the secret and use its KMS key; then retry.",
    "key-invalid": "Store 32 hexadecimal digits in the secret, or seal the key again.",
    "packaging-failed": "Read the packager's last lines in the job's log; retry once, then report them.",
    "encoder-failed": "Read the encoder's last lines in the job's log; retry once, then report them.",
    "output-invalid": "Retry once; if it stays, report the job with its log: the encoder made what was not asked for.",
    "output-not-found": "Make the bucket of the output, or name another one.",
    "output-access-denied": "Let the role for jobs write to the output; then retry.",
    "output-encrypted": "Let the role for jobs use the KMS key of the output's bucket; then retry.",
    "output-refused": "S3 refuses the output: its code is in the message.",
    "output-taken": "Choose another output: this one belongs to another user's job, or to that of another input.",
    "output-exists": "Choose another output, or remove the object that lies there: no job wrote it.",
    "output-busy": "Wait for the other job with the same output, or choose another output.",
    "output-lost": "Retry: parts of the output were aborted before they were complete.",
    "frame-rate-mismatch": "Score videos with the same frame rate.",
    "frame-count-mismatch": "Score videos with the same number of frames.",
    "frames-missing": "Look for frames that the encode has lost: the two videos differ.",
    "dynamic-range-mismatch": "Score two videos of the same dynamic range.",
    "interlacing-mismatch": "Score two videos that are both interlaced, or neither.",
    "shape-mismatch": "Score two videos of the same shape.",
    "inputs-swapped": "Swap input and origin: the original is the one with more detail.",
    "score-incomplete": "Retry; the message says how many frames have a score.",
    "quality-below-minimum": "Raise bitrate or quality, or lower the minimum.",
    "worker-cannot": "Send the job to workers that can do it: check which queue they read.",
    "storage-unavailable": "Retry: S3, KMS or STS did not answer for a while.",
    "aws-unavailable": "Retry: SQS or DynamoDB did not answer for a while.",
    "parts-gone": "Send the job again: what it was divided into has expired.",
    "disk-full": "Give hosts more disk, or keep other data off it; then retry.",
    "memory-short": "Give hosts more memory, or fewer workers each; then retry.",
    "program-missing": "Repair the worker's image: ffmpeg, ffprobe or the packager does not run there.",
    "credentials-refused": "Check the workers' role and their clock; then retry.",
    "host-failed": "Replace the host: its disk or its sandbox fails; then retry.",
    "worker-error": "Read the worker's log, and report it: the worker itself failed.",
    "attempts-exhausted": "Look at the attempts: each was lost or went wrong. Retry once the cause is gone.",
    "dead-letter": "Look at the attempts: the message came back too often. Retry once the cause is gone.",
    "worker-failed": "Read the log of the first-generation worker: it gave up without an error.",
    "worker-silent": "Check that the workers of its queue run, then retry.",
}
_ELSE = "Look at the message and the log of one of these jobs."
_ORIGIN = "origin-"


def advice(code: str) -> str:
    """What to do about jobs that failed with a code. The original of a score has the codes of an input."""
    if code in _ADVICE:
        return _ADVICE[code]
    if code.startswith(_ORIGIN) and (twin := "input-" + code.removeprefix(_ORIGIN)) in _ADVICE:
        return _ADVICE[twin].replace("the input", "the original").replace("an input", "an original")
    return _ELSE
