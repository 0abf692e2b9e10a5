"""Several seats of one contract at a marketplace: two real sentinels serve, the real control plane reports both as one, through
kills. No hour is waited for: while the control plane is dead, its sums are moved into hours that have ended.

spec: wire 1.3 (marketplace), 2.6
"""
import glob
import http.server
import json
import os
import sqlite3
import threading
import time
import urllib.error
import urllib.request

import chain

RESOURCE = "/subscriptions/s/applications/acme"
HOUR_MS = 3_600_000


class Marketplace:
    """The metering API and the identity endpoint of a machine: one event for each resource, dimension and hour."""

    def __init__(self):
        self.taken, self.posts, self.lose_answers, self.lock = {}, 0, False, threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, value):
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.answer({"access_token": "secret-of-the-test", "expires_in": "3599"})

            def do_POST(self):
                assert self.headers["Authorization"] == "Bearer secret-of-the-test"
                events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
                with outer.lock:
                    outer.posts += 1
                    results = [outer.take(event) for event in events]
                if outer.lose_answers:
                    self.close_connection = True
                    return
                self.answer({"count": len(results), "result": results})

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, event):
        key = event["resourceUri"], event["dimension"], event["effectiveStartTime"]
        if key not in self.taken:
            self.taken[key] = event
            return event | {"status": "Accepted"}
        return event | {"status": "Duplicate", "error": {"additionalInfo": {"acceptedMessage": self.taken[key]}}}

    def sum(self, dimension):
        with self.lock:
            return sum(event["quantity"] for key, event in self.taken.items() if key[1] == dimension)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Seats(chain.Case):
    @classmethod
    def setUpClass(cls):
        cls.market = Marketplace()
        cls.addClassCleanup(cls.market.close)
        cls.chain = chain.Chain(TB_CP_MARKETPLACE_CREDENTIAL="managed-identity", TB_CP_MARKETPLACE_TENANT="acme",
                                TB_CP_MARKETPLACE_ENDPOINT=cls.market.url, AZURE_POD_IDENTITY_AUTHORITY_HOST=cls.market.url)
        cls.addClassCleanup(cls.chain.close)
        plain = cls.chain.shm + "/model.gguf"
        with open(plain, "wb") as file:
            file.write(os.urandom(100_000))
        cls.chain.publish("model", plain)

    def two_seats(self):
        terms = self.chain.own_file("marketplace.json", json.dumps(
            {"resource_id": RESOURCE, "plan_id": "gold", "dimensions": ["requests", "input_tokens"]}).encode())
        self.chain.tb("contract", "create", "--contract-id", "seats", "--asset-id", "model", "--consumer", "consumer", "--not-after", "1h",
                      "--max-seats", 2, "--marketplace", terms, "--activation-token-file", f"{self.chain.shm}/seats.activation",
                      *self.chain.at)
        # Each is told to report itself as well, as one that had the contract for itself would be.
        own = {"TB_DELIVERY": "tmpfs", "TB_BILLING_INTERVAL": "1s", "TB_BILLING_ENABLED": "true", "TB_BILLING_RESOURCE_ID": RESOURCE,
               "TB_BILLING_PLAN_ID": "gold", "TB_BILLING_DIMENSION": "requests,input_tokens", "TB_METERING_ENDPOINT": self.market.url,
               "AZURE_POD_IDENTITY_AUTHORITY_HOST": self.market.url}
        sentinels = [self.start("seats", "model", **own) for _ in range(2)]
        for sentinel in sentinels:
            sentinel.wait_state("Ready", seconds=90)
        return sentinels

    def serve(self, sentinel, requests):
        for _ in range(requests):
            request = urllib.request.Request(f"http://{sentinel.addresses()['public']}/v1/completions", b'{"prompt": "some words"}')
            request.add_header("Authorization", "Bearer " + sentinel.api_key())
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.assertEqual(answer.status, 200)

    def ledgers(self, column, sentinels):
        total = 0
        for sentinel in sentinels:
            with sqlite3.connect(f"file:{sentinel.work}/state/usage.db?mode=ro", uri=True) as db:
                total += db.execute(f"SELECT coalesce(sum({column}), 0) FROM hour").fetchone()[0]
        return total

    def counted(self, dimension):
        rows = json.loads(self.chain.tb("usage", "--contract", "seats", "--by", "total", "--dimension", dimension, "--json", *self.chain.at))
        return sum(row["quantity"] for row in rows["items"])

    def hours_pass(self, hours):
        """A kill; what was used by then was used so many hours ago when the next one starts."""
        self.chain.process.kill()
        self.chain.process.wait()
        with sqlite3.connect(self.chain.work + "/cp/control-plane.db") as db:
            this_hour = int(time.time() * 1000) // HOUR_MS * HOUR_MS
            db.execute("UPDATE usage_sum SET hour = hour - ? WHERE hour >= ?", (hours * HOUR_MS, this_hour - HOUR_MS))
            # The one that was killed holds its turn for some minutes.
            db.execute("UPDATE turn SET until = 0")
        self.chain.restart(0)

    def wait_billed(self, quantity, sentinel):
        sentinel.wait_for("the bill", lambda: self.market.sum("requests") == quantity, seconds=90)

    def test_both_are_one_event_and_a_kill_bills_nothing_twice(self):
        sentinels = self.two_seats()
        while time.time() % 3600 > 3570:
            time.sleep(1)  # all in one hour
        self.serve(sentinels[0], 7)
        self.serve(sentinels[1], 5)
        sentinels[0].wait_for("reports", lambda: self.counted("requests") == 12, seconds=60)
        self.assertEqual(self.market.posts, 0)
        self.market.lose_answers = True
        self.hours_pass(3)
        sentinels[0].wait_for("a sending whose answer is lost", lambda: self.market.posts > 0, seconds=60)
        self.market.lose_answers = False
        self.serve(sentinels[1], 4)
        sentinels[0].wait_for("reports", lambda: self.counted("requests") == 16, seconds=60)
        self.hours_pass(2)
        self.wait_billed(16, sentinels[0])
        quantities = sorted(event["quantity"] for key, event in self.market.taken.items() if key[1] == "requests")
        self.assertEqual(quantities, [4, 12])
        self.assertEqual(self.market.sum("input_tokens"), self.ledgers("input_tokens", sentinels))
        for sentinel in sentinels:
            self.assertIn("the control plane reports this contract", sentinel.log())
            self.assertIn("trustbridge_sentinel_billing_accepted_units 0", sentinel.health("/metrics")[1])
        for path in glob.glob(self.chain.work + "/*.log"):
            with open(path, encoding="utf-8") as file:
                self.assertNotIn("secret-of-the-test", file.read())

    def test_no_other_tenant_may_name_the_marketplace(self):
        out = self.chain.operator("token", "create", "--role", "provider", "--tenant", "another")
        token = self.chain.own_file("another", out)
        with open(token, encoding="utf-8") as file:
            request = urllib.request.Request(self.chain.url + "/api/v1/contracts", json.dumps(
                {"consumer": "x", "asset_ids": ["model"], "not_after": "2099-01-01T00:00:00Z",
                 "marketplace": {"resource_id": RESOURCE, "plan_id": "gold", "dimensions": ["requests"]}}).encode())
            request.add_header("Authorization", "Bearer " + file.read().strip())
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        with refused.exception as answer:
            self.assertEqual(json.load(answer)["code"], "contract_invalid")


if __name__ == "__main__":
    chain.main()
