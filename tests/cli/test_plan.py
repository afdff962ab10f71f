def test_plan_counts_exactly_and_makes_nothing(invoke, tiny, tmp_path):
    result = invoke("plan", "tiny.yaml")
    assert result.status == 0
    for words in (
        "train      46 steps, 5 checkpoints",
        "loss       243 values of 32 images",
        "convexity  18 points",
        "draw       24 frames of 64x36",
        "in all     about",
    ):
        assert f"\n{words}" in f"\n{result.out}"
    assert list(tmp_path.iterdir()) == [tiny]


def test_plan_counts_the_trainings_that_a_sweep_needs(invoke, tiny):
    text = tiny.read_text().replace("kind: epochs, at: [0, 1, 2]", "kind: pruning, at: [0%, 90%], retrain: 1")
    text = text.replace("at: [0, 2]", "at: all").replace("1.5s: 2}", "1.5s: 90}").replace("{0s: 2}", "{0s: 90}")
    tiny.write_text(text)
    plan = invoke("plan", "tiny.yaml").out
    assert "train      46 steps, 5 checkpoints" in plan and "train      23 steps, 3 checkpoints" in plan
