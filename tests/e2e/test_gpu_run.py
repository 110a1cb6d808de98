"""A run on a machine whose GPUs are held back and used by others: what its audit says."""

import json
import shutil
import subprocess
import unittest

from harness import SOURCE, Case, Run, edge_eval, environment, plan, tiny_model, write_plan


@unittest.skipUnless(shutil.which("cc"), "no C compiler to build a fake NVML with")
class DisturbedRun(Case):
    def run_on_fake_gpus(self, **env):
        tests = SOURCE / "tests"
        subprocess.run(["cc", "-shared", "-fPIC", "-std=c11", "-D_GNU_SOURCE", "-DFAKE_NVML_LIVE", f"-I{tests}",
                        f"-I{SOURCE / 'src'}", "-o", self.dir / "libnvidia-ml.so.1",
                        tests / "support" / "energy_fake_nvml_live.c", tests / "support" / "energy_fake_nvml.c"],
                       check=True)  # fmt: skip
        tiny_model(self.dir)
        write_plan(self.dir, plan({"path": "tiny.gguf"}, precisions=["int4"], tasks={"rag": {"items": 10, "max_tokens": 200}},
                                  serve={"concurrency": 1, "lengths": "forced"}, energy={"source": "nvml", "idle_s": 0}))  # fmt: skip
        env = environment(LD_LIBRARY_PATH=str(self.dir), **env)
        done = edge_eval("run", "plan.yaml", "--out", "out", cwd=self.dir, env=env)
        self.assertEqual(done.code, 0, done)
        looks = Run(self.dir / "out").rows("SELECT component, looks, throttled_share, throttle, other_processes, min_sm_mhz"
                                           " FROM gpu_look WHERE window LIKE 'serve/%' ORDER BY component")  # fmt: skip
        out = edge_eval("audit", "out", "--json", cwd=self.dir, env=env)
        return looks, {f["rule"]: f["finding"] for f in json.loads(out.out)["findings"]}

    def test_a_throttled_and_shared_gpu_is_found(self):
        other = subprocess.Popen(["sleep", "300"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        (self.dir / "pids").write_text(f"{other.pid}\n")
        looks, findings = self.run_on_fake_gpus(FAKE_NVML_THROTTLE="1", FAKE_NVML_PIDS=str(self.dir / "pids"))
        self.assertEqual([(row[0], *row[2:]) for row in looks],
                         [("gpu0", 1, "power cap", 0, 1500), ("gpu1", 1, "power cap", 1, 1500)])  # fmt: skip
        self.assertTrue(all(row[1] >= 1 for row in looks))
        self.assertIn("throttled for more than 1 %", findings["throttling"])
        self.assertIn("up to 1 of them at once", findings["other-processes"])

    def test_a_gpu_left_alone_is_not(self):
        looks, findings = self.run_on_fake_gpus()
        self.assertEqual([row[2:5] for row in looks], [(0, None, 0), (0, None, 0)])
        self.assertNotIn("throttling", findings)
        self.assertNotIn("other-processes", findings)


if __name__ == "__main__":
    unittest.main()
