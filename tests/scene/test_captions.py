from studio.scene.captions import assumed_film, captions
from studio.scene.scene import Portrait, Scene


def test_the_caption_says_mode_samples_directions_range_grid_and_height(tiny):
    assert captions(Scene.load(tiny)) == {
        "loss": "eval mode \u00b7 32 training images \u00b7 filter-normalised random directions \u00b7 range \u00b11 "
        "\u00b7 9\u00d79 points at 3 keyframes, interpolated between \u00b7 height \u221aloss",
        "convexity": "eval mode \u00b7 32 training images \u00b7 filter-normalised random directions \u00b7 range "
        "\u00b11 \u00b7 9\u00d79 points at 3 keyframes, interpolated between \u00b7 height \u221aloss\n"
        "convexity 3\u00d73 points at 2 keyframes over 32 images, interpolated between",
    }


def test_a_portrait_says_its_own_grid_and_epoch(tiny):
    assert "21\u00d721 points at epoch 2" in captions(Scene.load(tiny), Portrait(2.0, 21))["loss"]


def test_the_assumed_film_has_every_field_that_a_shot_draws_and_every_frame(tiny):
    scene = Scene.load(tiny)
    source = assumed_film(scene)
    assert {"loss", "lambda_min", "lambda_max"} <= set(source.surfaces[""].fields)
    assert source.cut.length == scene.cut.length == 24 and source.frame(23).views
