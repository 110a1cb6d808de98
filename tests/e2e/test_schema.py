"""docs/metrics.schema.json describes what edge-eval writes: of a measured run, a failed one and an empty one."""

import copy
import json
import unittest

import harness
import schema

COST = {
    "deployment": "owned", "hardware": 1200, "lifetime": "4y", "maintenance": 0.01, "electricity": "ireland", "pue": 1.3,
    "ops": 0.02, "labour": 50, "refresh": "30d", "recurring": 5, "traffic": "500/h", "api": "gpt-4.1", "idle_w": 0.05,
}  # fmt: skip


class Schema(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.schema = json.loads((harness.SOURCE / "docs" / "metrics.schema.json").read_text(encoding="utf-8"))

    def check(self, doc):
        self.assertEqual(list(schema.errors(doc, self.schema, self.schema))[:5], [])

    def test_a_measured_run_and_every_change_of_a_key(self):
        model = {"path": str(harness.f16_model(self.dir, "tiny.gguf")), "id": "tiny"}
        run, _ = self.measure(harness.plan(model, load={"warm": 1, "cold": 0}, cost=COST))
        doc = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
        self.check(doc)
        self.assertTrue(any(v["economics"]["is_complete"] for v in doc["variants"]))
        metered = next(i for i, stage in enumerate(doc["stages"]) if stage["energy"])
        for path in (("variants", 0, "rows", 0, "value"), ("stages", metered, "energy", 0, "joules"), ("run", "run_id")):
            wrong, lacking = copy.deepcopy(doc), copy.deepcopy(doc)
            for changed, change in ((wrong, lambda o, k: o.update({k: ["x"]})), (lacking, lambda o, k: o.pop(k))):
                owner = changed
                for key in path[:-1]:
                    owner = owner[key]
                change(owner, path[-1])
                self.assertEqual(len(list(schema.errors(changed, self.schema, self.schema))), 1, path)
        doc["more"] = 1
        self.assertEqual(list(schema.errors(doc, self.schema, self.schema)), ["$: more is not in the schema"])

    def test_a_failed_run(self):
        broken = self.dir / "broken.gguf"
        broken.write_bytes(b"GGUF" + bytes(64))
        run, _ = self.measure(harness.plan({"path": str(broken), "id": "broken"}), code=1)
        doc = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
        self.check(doc)
        self.assertIn("failed", [s["status"] for s in doc["stages"]])


if __name__ == "__main__":
    unittest.main()
