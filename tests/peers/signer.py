"""Signs a delivery with the public `standardwebhooks` library: SECRET ID SECONDS BODY; prints the headers as JSON."""

import json
import sys
from datetime import datetime, timezone

from standardwebhooks import Webhook

secret, delivery, seconds, body = sys.argv[1:]
at = datetime.fromtimestamp(int(seconds), tz=timezone.utc)
headers = {
    "webhook-id": delivery,
    "webhook-timestamp": seconds,
    "webhook-signature": Webhook(secret).sign(delivery, at, body),
}
print(json.dumps(headers))
