from studio.config.units import Time
from studio.film.look import assets_folder
from studio.scene.draft import to_draft
from studio.scene.scene import Scene


def test_a_draft_of_a_large_scene_is_small():
    draft = to_draft(Scene.load(assets_folder().parent / "scenes" / "first-light.yaml"))
    assert draft.film.size == (640, 360) and draft.film.fps == 12
    assert (
        len(draft.keyframes()) <= 8
        and draft.grid.points <= 21
        and draft.keyframes()[-1].coordinate == 40
        and draft.detail is None
    )


def test_a_draft_keeps_the_first_and_the_last_keyframe_and_the_films_length(tiny):
    text = tiny.read_text().replace("epochs: 2", "epochs: 40").replace("at: [0, 1, 2]}", "at: all}")
    tiny.write_text(text.replace("every: 0.5", "every: 1"))
    scene = Scene.load(tiny)
    draft = to_draft(scene)
    assert len(scene.keyframes()) == 41 and len(draft.keyframes()) == 8
    assert [draft.keyframes()[i].coordinate for i in (0, -1)] == [0, 40]
    assert set(draft.convexity_keyframes()) <= set(draft.keyframes())
    assert draft.cut.length / draft.film.fps == scene.cut.length / scene.film.fps


def test_times_in_frames_last_as_long_in_a_draft_at_half_the_rate(tiny):
    tiny.write_text(tiny.read_text().replace("fps: 8", "fps: 24").replace("duration: 1s", "duration: 24f"))
    draft = to_draft(Scene.load(tiny))
    assert draft.film.fps == 12 and draft.shots[1].duration == Time(1.0) and draft.cut.length == 36


def test_a_scene_smaller_than_a_draft_is_its_own_draft(tiny):
    scene = Scene.load(tiny)
    draft = to_draft(scene)
    assert (draft.grid, draft.loss, draft.film.size, draft.film.fps) == (scene.grid, scene.loss, (64, 36), 8)
    assert draft.keyframes() == scene.keyframes()
