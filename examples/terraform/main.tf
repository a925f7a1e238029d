# The stack for users of Terraform: CloudFormation makes it, Terraform hands in the template and reads the outputs.
# First: python ../cloudformation/publish.py FOLDER BUCKET, whose output is the variable template_url.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "template_url" {
  description = "Where publish.py has put the template"
  type        = string
}

resource "aws_cloudformation_stack" "elasticrecode" {
  name         = "ElasticRecode"
  template_url = var.template_url
  capabilities = ["CAPABILITY_NAMED_IAM"]

  timeouts {
    create = "60m"
    update = "60m"
  }
}

output "url" {
  description = "The home page, the API below /api and the WebSocket at /ws"
  value       = aws_cloudformation_stack.elasticrecode.outputs["Url"]
}

output "worker_policy" {
  description = "The policy for the role of your workers"
  value       = aws_cloudformation_stack.elasticrecode.outputs["WorkerPolicy"]
}
