"""Quality of an encode against its origin: pairing of frames, VMAF, PSNR and SSIM, and the reports."""
