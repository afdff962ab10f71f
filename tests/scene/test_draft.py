from studio.film.look import assets_folder
from studio.scene.draft import to_draft
from studio.scene.scene import Scene


def test_a_draft_of_a_large_scene_is_small():
    draft = to_draft(Scene.load(assets_folder().parent / "scenes" / "first-light.yaml"))
    assert draft.film.size == (640, 360) and draft.film.fps == 12
    assert (
        len(draft.keyframes()) <= 8 and draft.grid.points <= 21 and draft.keyframes()[-1] == 40 and draft.detail is None
    )
