"""`python -m elasticrecode_client.doctor`."""

from elasticrecode_client.doctor.command import doctor

if __name__ == "__main__":
    doctor()
