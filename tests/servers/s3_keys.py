"""Makes the access keys of a fresh S3 service and lets it check them from then on. Called by s3.sh with the service's URL.

Writes KEY=VALUE lines: the service, and an access key with its secret for each of

  S3        may do anything
  S3_WRITE  may store, look and read, but neither remove nor abort
  S3_READ   may look and read
"""

import json
import sys
import urllib.request

import boto3

READ = ["s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
USERS = {
    "S3": ["s3:*"],
    "S3_WRITE": [*READ, "s3:PutObject"],
    "S3_READ": READ,
}


def main(endpoint: str) -> None:
    iam = boto3.client(
        "iam",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="setup",
        aws_secret_access_key="setup",
    )
    print(f"S3_ENDPOINT={endpoint}")
    print("S3_REGION=us-east-1")
    for name, actions in USERS.items():
        iam.create_user(UserName=name)
        statement = [{"Effect": "Allow", "Action": actions, "Resource": "*"}]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam.put_user_policy(UserName=name, PolicyName="s3", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        print(f"{name}_ACCESS_KEY={key['AccessKeyId']}")
        print(f"{name}_SECRET_KEY={key['SecretAccessKey']}")
    # Until here anybody may do anything.
    url, text = f"{endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    request = urllib.request.Request(url, b"0", text, method="POST")
    urllib.request.urlopen(request, timeout=10).read()


main(sys.argv[1])
