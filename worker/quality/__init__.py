"""Quality of an encode against its origin: pairing of frames, VMAF, PSNR, SSIM, and the reports."""
