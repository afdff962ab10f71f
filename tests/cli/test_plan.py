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
