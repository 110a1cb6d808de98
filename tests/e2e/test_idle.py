"""Idle power of a run: of the machine, and with a model loaded and waiting."""

import json
import unittest

from harness import Case, Run, edge_eval, environment, plan, tiny_model, write_plan

TASKS = {"rag": {"items": 2, "max_tokens": 3}, "summ": {"items": 2, "max_tokens": 3}}


class Idle(Case):
    def run_with(self, source, name):
        tiny_model(self.dir)
        write_plan(self.dir, plan({"path": "tiny.gguf"}, precisions=["int4"], tasks=TASKS,
                                  energy={"source": source, "idle_s": 8}, cost={"deployment": "owned"}))  # fmt: skip
        env = environment(XDG_CACHE_HOME=str(self.dir / "cache"))
        done = edge_eval("run", "plan.yaml", "--out", name, cwd=self.dir, env=env)
        self.assertEqual(done.code, 0, done)
        run = Run(self.dir / name)
        results = [json.loads(r) for (r,) in run.rows("SELECT result_json FROM stage WHERE kind = 'serve'")]
        return run, [r["idle"] for r in results]

    def test_a_resident_model_is_measured_once_a_file(self):
        lines = [{"edge_eval_power": 1, "components": [{"name": "gpu0", "scope": "gpu", "update_ms": 5}]},
                 {"t_s": 0, "gpu0": {"w": 40}}, {"t_s": 600, "gpu0": {"w": 40}}]  # fmt: skip
        (self.dir / "power.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        run, (first, second) = self.run_with(f"replay:{self.dir}/power.jsonl", "out")
        for part in ("resident", "bare"):
            self.assertAlmostEqual(first[part]["watts"], 40, places=3)
            self.assertEqual(first[part]["quality"], "integrated")
            self.assertLess(first[part]["low_w"], 40)
            self.assertGreater(first[part]["high_w"], 40)
        self.assertTrue(first["settled"])
        self.assertEqual(first["age_s"], 0)
        self.assertEqual(second["resident"], first["resident"])
        self.assertEqual(second["seconds"], first["seconds"], "the same measurement, used again")
        self.assertFalse((self.dir / "cache").exists(), "a recording says nothing about this machine")
        rows = {r["metric"]: r for r in run.metrics() if r["profile"] == "full"}
        self.assertIn("closer than the two can be told apart", rows["keep_warm_energy_s"]["reason"])

    def test_a_modelled_one_takes_no_time_and_says_so(self):
        _, (idle, _) = self.run_with("model", "out")
        self.assertEqual(idle["seconds"], 0)
        self.assertEqual(idle["resident"]["quality"], "modelled")
        self.assertGreater(idle["resident"]["watts"], 0)
        self.assertEqual(idle["resident"]["watts"], idle["bare"]["watts"])

if __name__ == "__main__":
    unittest.main()
