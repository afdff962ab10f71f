import pickle
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from studio.config.units import Size, Time
from studio.field import Axis, Field, Grid, Markers, Surfaces
from studio.film.appearance import Appearance, Nodes
from studio.film.camera import Camera, Move, Start
from studio.film.fields import ColourMapping, HeightMapping
from studio.film.format import Format, Quality
from studio.film.frame import Frame, View
from studio.film.frame_source import FrameSource
from studio.film.labels import labels
from studio.film.light import Lamp, Light
from studio.film.lines import Contours
from studio.film.look import Look
from studio.film.marks import Bar, Text
from studio.film.overlays import Page, Titles
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading
from studio.film.surface import marker_height
from studio.film.timeline import Shot, Transition

LOOK = Look(light=Light(key=Lamp(azimuth=70.0, elevation=30.0), rim=Lamp(azimuth=200.0, elevation=15.0)), mesh=33)
GRID = Grid(range=(-1, 1), points=9)
SQUARED = GRID.alpha[:, None] ** 2 + GRID.alpha[None] ** 2
LOSS = Field((0.0, 1.0, 3.0), GRID, np.stack([2 + 0.1 * SQUARED, 1 + SQUARED, 0.5 + 3 * SQUARED]), "log")
EIGEN = {
    "lambda_min": Field((0.0, 3.0), GRID, np.stack([SQUARED - 1, SQUARED - 2]), "signed-log"),
    "lambda_max": Field((0.0, 3.0), GRID, np.stack([SQUARED + 1, SQUARED + 5]), "signed-log"),
}
EPOCHS = Axis(name="epoch")
SURFACES = Surfaces({"loss": LOSS} | EIGEN, (0.0, 1.0, 3.0), {"test_accuracy": (10.0, 50.0, 90.0)}, axis=EPOCHS)
SHOTS = (
    Shot(
        shot="down",
        duration=Time(2.0),
        along={Time(0.0): 0.0, Time(2.0): 3.0},
        to_next=Transition(dissolve=Time(0.5)),
        camera=Camera(
            start=Start(azimuth=10.0, elevation=30.0, distance=2.5), moves=(Move(orbit=40.0, over=Time(2.0)),)
        ),
    ),
    Shot(
        shot="round",
        duration=Time(2.0),
        along={Time(0.0): 3.0},
        colour=ColourMapping(field="convexity", map="viridis", scale="linear"),
        camera=Camera(look_at="centre", start=Start(azimuth=90.0), moves=(Move(orbit=90.0, over=Time(2.0)),)),
    ),
)
FORMAT = Format(size=Size(160, 90), fps=Fraction(8))
NOTES = {"loss": "what the loss is", "convexity": "what the convexity is"}
TITLED = Titles(title="A film")


def film_of(shots=SHOTS, look=LOOK, titles=TITLED, form=FORMAT, surfaces=SURFACES) -> FrameSource:
    return FrameSource.of(shots, {"": surfaces}, look, titles, form, {"": NOTES})


def bits(value):
    """A frame as something that compares, and hashes, by its last bit."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if is_dataclass(value):
        return type(value).__name__, *(bits(getattr(value, field.name)) for field in fields(value))
    return tuple(map(bits, value)) if isinstance(value, tuple) else value


def are_equal(first: Frame, second: Frame) -> bool:
    return bits(first) == bits(second)


def test_a_frame_is_the_same_in_any_order_alone_or_in_another_process():
    film = film_of()
    forward = {n: film.frame(n) for n in range(film.cut.length)}
    for n in (27, 3, 14, 0, 13, 3):
        assert are_equal(film.frame(n), forward[n])
        assert are_equal(film_of().frame(n), forward[n])
        assert are_equal(pickle.loads(pickle.dumps(film)).frame(n), forward[n])


def test_any_two_frames_differ():
    film = film_of()
    assert len({bits(replace(film.frame(n), number=0)) for n in range(film.cut.length)}) == film.cut.length


def test_in_a_dissolve_there_are_two_views_whose_weights_sum_to_one():
    film = film_of()
    assert [len(film.frame(n).views) for n in (11, 12, 15, 16)] == [1, 2, 2, 1]
    assert sum(view.weight for view in film.frame(13).views) == pytest.approx(1.0)


def test_the_ranges_are_those_of_the_whole_film_in_every_part_of_it():
    assert film_of().ranges.height == film_of(SHOTS[:1]).ranges.height == film_of(SHOTS[1:]).ranges.height
    first, last = film_of().frame(0).views[0].height, film_of().frame(27).views[0].height
    assert last.max() - last.min() > 4 * (
        first.max() - first.min()
    )  # the film opens from a flat surface: no stretching


def resolved(view: View, look: Look, azimuth: float) -> Appearance:
    """The appearance of a view in a look whose camera stands at an azimuth."""
    scale = view.appearance.height_scale
    return resolve_appearance(look, azimuth, (scale.low, scale.high))


def test_another_camera_changes_only_where_camera_and_lamps_stand():
    moved = SHOTS[0].model_copy(update={"camera": Camera(start=Start(azimuth=-90.0, distance=9.0))})
    a, b = film_of().frame(4), film_of((moved, SHOTS[1])).frame(4)
    assert a.views[0].pose != b.views[0].pose
    [before], [after] = a.views, b.views
    turned = replace(before, pose=after.pose, appearance=resolved(after, LOOK, -90.0))
    assert are_equal(replace(a, views=(turned,)), b)


def test_another_colour_changes_only_the_colours_and_the_legend():
    a, b = film_of().frame(4), film_of(look=LOOK.model_copy(update={"colour": ColourMapping(map="viridis")})).frame(4)
    assert not np.array_equal(a.views[0].colours, b.views[0].colours)
    assert np.array_equal(a.views[0].height, b.views[0].height) and a.views[0].pose == b.views[0].pose
    assert [o for o in a.overlays if isinstance(o, Text)] == [o for o in b.overlays if isinstance(o, Text)]


def test_another_grade_changes_nothing_but_grading_and_exposure():
    grade = LOOK.grade.model_copy(update={"exposure": 9.0, "contrast": 1.5})
    a, b = film_of().frame(4), film_of(look=LOOK.model_copy(update={"grade": grade})).frame(4)
    assert (
        b.grading == resolve_grading(grade)
        and b.views[0].appearance == replace(a.views[0].appearance, exposure=9.0)
        and np.array_equal(a.views[0].height, b.views[0].height)
        and np.array_equal(a.views[0].colours, b.views[0].colours)
    )


def test_a_longer_first_shot_leaves_the_frames_of_the_second_as_they_were():
    longer = SHOTS[0].model_copy(update={"duration": Time(3.0), "along": {Time(0.0): 0.0, Time(3.0): 3.0}})
    a, b = film_of(), film_of((longer, SHOTS[1]))
    for n in (16, 20, 27):
        assert are_equal(replace(a.frame(n), overlays=()), replace(b.frame(n + 8), overlays=(), number=n))


def test_the_camera_follows_the_minimiser_or_stays_at_the_middle_or_at_a_point():
    def focus(look_at, n):
        film = film_of((SHOTS[0].model_copy(update={"camera": Camera(look_at=look_at)}), *SHOTS[1:]))
        return film.frame(n).views[0].pose.focal_point, film.frame(n).views[0].height

    for n in (0, 11):
        point, height = focus("minimiser", n)
        assert point == (0.0, 0.0, float(height[16, 16]))
        assert focus("centre", n)[0] == (0.0, 0.0, LOOK.height.exaggeration / 2)
        assert focus((0.1, 0.2, 0.3), n)[0] == (0.1, 0.2, 0.3)


def test_where_the_minimiser_is_a_hole_the_camera_looks_at_the_middle():
    values = LOSS.values.copy()
    values[:, 4, 4] = np.nan
    view = film_of(surfaces=replace(SURFACES, fields={"loss": replace(LOSS, values=values)} | EIGEN)).frame(3).views[0]
    assert np.isnan(view.height[16, 16]) and view.pose.focal_point == (0.0, 0.0, LOOK.height.exaggeration / 2)


def test_the_live_line_shows_the_numbers_of_the_instant():
    film = film_of(
        titles=Titles(live="epoch {epoch:.2f} loss {loss:.3f} accuracy {test_accuracy:.0f} rate {learning_rate}")
    )
    line = next(o for o in film.frame(0).overlays if isinstance(o, Text) and o.text.startswith("epoch"))
    assert line.text == "epoch 0.00 loss 2.000 accuracy 10 rate nan"


def notes(frame: Frame) -> dict[str, float]:
    return {o.text: round(o.opacity, 6) for o in frame.overlays if isinstance(o, Text) and o.text.startswith("what")}


def box(text: Text) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a line of text, with what hangs below it."""
    from studio.render.text import _font

    wide = _font(text.weight, 100).getlength(text.text) / 100 * text.size
    left = text.x if text.align == "left" else text.x - wide
    return left, text.y - 0.8 * text.size, left + wide, text.y + 0.2 * text.size


def test_at_no_instant_of_a_dissolve_do_two_texts_lie_over_each_other():
    film, seen = film_of(form=FORMAT.model_copy(update={"fps": Fraction(48)})), set()
    for number in range(66, 102):  # from before the dissolve, 72 to 96, to after it
        texts = [o for o in film.frame(number).overlays if isinstance(o, Text)]
        for i, text in enumerate(texts):
            for other in texts[:i]:
                (a, b, c, d), (e, f, g, h) = box(text), box(other)
                assert a >= g or e >= c or b >= h or f >= d, (number, text.text, other.text)
        seen |= {o.text for o in texts}
    assert {"loss", "share of negative curvature", *NOTES.values()} <= seen


def test_a_shot_has_its_captions_until_the_middle_of_its_dissolve_and_the_next_shot_from_there():
    film = film_of(form=FORMAT.model_copy(update={"fps": Fraction(46)}))  # of 23 frames, the 12th is the middle
    captions = [notes(film.frame(69 + n)) for n in range(-1, 24)]
    assert captions[0] == {"what the loss is": 0.55} and captions[-1] == {"what the convexity is": 0.55}
    assert all(set(names) == {"what the loss is"} for names in captions[:12]) and captions[12] == {}
    assert all(set(names) == {"what the convexity is"} for names in captions[13:])
    assert len([o for o in film.frame(80).overlays if isinstance(o, Text) and o.text.startswith("epoch")]) == 0


def test_the_labels_of_contours_in_a_dissolve_are_those_of_one_shot():
    contours = LOOK.model_copy(update={"contours": Contours(step=0.2, index=1, labels=True)})
    seen = set()
    for number in range(12, 16):
        film = film_of(look=contours)
        frame = film.frame(number)
        places = {(o.x, o.y) for o in frame.overlays if isinstance(o, Text) and o.align == "middle"}
        alone = [replace(frame.views[i], weight=1.0) for i in (0, 1)]
        page = Page.of(
            FORMAT.size, TITLED, [(mapping, NOTES[mapping.field]) for mapping in (LOOK.colour, SHOTS[1].colour)]
        )
        whole = [{(o.x, o.y) for o in labels(v, contours, page)} for v in alone]
        leading = int(frame.views[1].weight > 0.5)
        assert places <= whole[leading]
        seen |= places
    assert seen


def test_two_shots_at_one_epoch_keep_their_live_line_through_the_dissolve():
    still = tuple(shot.model_copy(update={"along": {Time(0.0): 1.0}}) for shot in SHOTS)
    lines = [
        o for n in range(11, 17) for o in film_of(still).frame(n).overlays if getattr(o, "text", "")[:5] == "epoch"
    ]
    assert len(lines) == 6 and len(set(lines)) == 1


def test_captions_that_two_shots_share_stay_unchanged_in_their_dissolve():
    film = film_of((SHOTS[0], SHOTS[1].model_copy(update={"colour": None})))
    assert notes(film.frame(13)) == {"what the loss is": 0.55}
    assert len([o for o in film.frame(13).overlays if isinstance(o, Bar)]) == 1


def test_the_title_comes_and_goes_and_the_number_is_the_frames_own():
    film = film_of(titles=Titles(title="A film", title_for=Time(1.0)))
    shown = [any(isinstance(o, Text) and o.text == "A film" for o in film.frame(n).overlays) for n in (0, 4, 7, 8, 20)]
    assert shown == [True, True, True, False, False] and film.frame(7).number == 7


def accumulated(shutter: float, shots=SHOTS, count: int = 8) -> FrameSource:
    quality = Quality(samples=1, subframes=count)
    return film_of(shots, form=FORMAT.model_copy(update={"quality": quality, "shutter": shutter}))


def test_subframes_are_views_of_equal_weight_and_of_the_same_arrays_while_the_shutter_is_an_instant():
    for number in (4, 13, 27):
        steady, frame = film_of().frame(number), accumulated(0.0).frame(number)
        assert frame.overlays == steady.overlays and len(frame.views) == 8 * len(steady.views)
        for view, eight in zip(steady.views, (frame.views[:8], frame.views[8:]), strict=False):
            assert {part.weight for part in eight} == {view.weight / 8}
            assert all(part.height is eight[0].height and part.colours is eight[0].colours for part in eight)
            assert len({part.jitter for part in eight}) == len({part.lens_point for part in eight}) == 8
            plain = [replace(part, weight=view.weight, jitter=(0.0, 0.0), lens_point=(0.0, 0.0)) for part in eight]
            assert all(bits(part) == bits(view) for part in plain)


def test_an_open_shutter_spreads_surface_and_camera_evenly_around_the_frames_time():
    turning = SHOTS[0].model_copy(update={"camera": Camera(moves=(Move(orbit=80.0, over=Time(2.0), ease="linear"),))})
    still, open_ = (accumulated(shutter, (turning, SHOTS[1])).frame(8) for shutter in (0.0, 180.0))

    def turns(frame: Frame) -> np.ndarray:
        return np.sort([np.degrees(np.arctan2(v.pose.position[1], v.pose.position[0])) for v in frame.views])

    # 80 degrees in 16 frames, half of one while it is open, divided into eight
    assert turns(open_) - turns(still) == pytest.approx(2.5 * (np.arange(8) - 3.5) / 8)
    assert len({view.height.tobytes() for view in open_.views}) == 8
    mean = np.mean([view.height for view in open_.views], axis=0)
    # the surface bends over a sixteenth of a second, as PCHIP has it
    assert mean == pytest.approx(still.views[0].height, abs=1e-3)
    assert {view.appearance for view in open_.views} == {still.views[0].appearance}  # the lamps stand still


def test_a_shutter_neither_opens_before_the_shot_nor_blurs_what_stands_still():
    film = accumulated(360.0)
    first, held = film.frame(0).views, film.frame(26).views
    assert min(view.height[16, 16] for view in first) >= film_of().frame(1).views[0].height[16, 16]
    assert all(view.height is held[0].height for view in held)


def test_the_arrays_of_a_hold_are_the_same_objects_in_every_frame_and_nothing_can_change_them():
    film = film_of()
    first, second = film.frame(20).views[0], film.frame(24).views[0]
    assert first.height is second.height and first.colours is second.colours and first.pose != second.pose
    assert film.frame(4).views[0].height is not first.height
    with pytest.raises(ValueError, match="read-only"):
        first.height[0, 0] = 1.0


def test_a_frame_has_the_background_of_its_look():
    assert film_of().frame(3).background == resolve_background(LOOK.background)


def test_a_film_in_another_look_has_its_ranges_and_its_colour_in_every_shot():
    other = LOOK.model_copy(update={"colour": ColourMapping(map="viridis"), "height": HeightMapping(scale="linear")})
    film = film_of().with_look(other)
    assert film.ranges == film_of(tuple(s.model_copy(update={"colour": None}) for s in SHOTS), other).ranges
    for n in (3, 27):
        frame = film.frame(n)
        assert all(view.appearance.height_scale.scale == "linear" for view in frame.views)
        assert are_equal(frame, film_of(tuple(s.model_copy(update={"colour": None}) for s in SHOTS), other).frame(n))


def test_a_look_that_draws_what_was_not_measured_is_refused():
    with pytest.raises(ValueError, match="nothing measures the entropy"):
        film_of().with_look(LOOK.model_copy(update={"colour": ColourMapping(field="entropy")}))


def test_an_appearance_has_the_films_height_scale_and_the_measured_points():
    film = film_of(look=LOOK.model_copy(update={"nodes": True}))
    appearance = film.frame(3).views[0].appearance
    scale = appearance.height_scale
    assert (scale.low, scale.high) == film.ranges.height and appearance.nodes == Nodes((0.0, 0.0), (0.25, 0.25))
    assert film_of().frame(3).views[0].appearance.nodes is None


def test_a_curvature_has_the_notes_of_the_convexity():
    film = film_of(
        (SHOTS[0], SHOTS[1].model_copy(update={"colour": ColourMapping(field="lambda_min", scale="signed-log")}))
    )
    assert notes(film.frame(27)) == {"what the convexity is": 0.55}


def test_the_lines_of_a_map_are_labelled_in_the_film():
    lines = LOOK.model_copy(update={"contours": Contours(step=0.5, index=1, labels=True), "mesh": 129})
    shown = [o for o in film_of(look=lines).frame(11).overlays if isinstance(o, Text) and o.align == "middle"]
    assert shown and all(float(o.text) in np.arange(0.5, 6.0, 0.5) for o in shown)


def test_a_looks_halo_lies_around_all_text_without_its_own():
    lines = LOOK.model_copy(update={"contours": Contours(step=0.5, index=1, labels=True), "halo": "#123456"})
    texts = [o for o in film_of(look=lines.model_copy(update={"mesh": 129})).frame(11).overlays if isinstance(o, Text)]
    assert {o.halo for o in texts if o.align == "middle"} == {LOOK.background.top}
    assert {o.halo for o in texts if o.align != "middle"} == {"#123456"}
    assert all(o.halo is None for o in film_of().frame(11).overlays if isinstance(o, Text))


# --- a window and a marker that move


def moving(**parts) -> FrameSource:
    """A shot of three keyframes: a bowl on grids that shrink about (0.2, -0.1), the marker on its way there."""
    grids = tuple(
        Grid(range=((0.2 - h, 0.2 + h), (-0.1 - h / 2, -0.1 + h / 2)), points=(33, 17)) for h in (1, 0.5, 0.1)
    )
    losses = tuple(2 + np.add.outer(grid.beta**2, grid.alpha**2) for grid in grids)
    markers = Markers((0.0, 1.0, 2.0), np.array([[0.0, 0.0], [0.2, -0.1], [np.nan, np.nan]]))
    zoom = Surfaces({"loss": Field((0.0, 1.0, 2.0), grids, losses, "log")}, markers=markers, axis=Axis(name="zoom"))
    shot = Shot(shot="in", duration=Time(2.0), along={Time(0.0): 0.0, Time(2.0): 2.0}, camera=Camera())
    scale = {"height": HeightMapping(scale="linear", range="keyframe"), "colour": ColourMapping(range="keyframe")}
    look = LOOK.model_copy(update=scale | parts)
    return FrameSource.of((shot,), {"": zoom}, look, Titles(), FORMAT, {"": NOTES})


def test_the_camera_and_the_light_follow_a_marker_and_stay_in_the_middle_without_one():
    film = moving()
    views = [film.shot_view(film.cut.shots[0], n) for n in (0, 4, 15)]
    places = [view.marker for view in views]
    assert places[0] == pytest.approx((-0.2, 0.1)) and places[2] is None
    assert [view.pose.focal_point[:2] for view in views] == [places[0], places[1], (0.0, 0.0)]
    assert {film.frame(n).views[0].sides for n in range(16)} == {(1.0, 0.5)}  # or the mesh would be built anew
    for view in views:
        assert view.pose.focal_point[2] == pytest.approx(marker_height(view.height, view.marker or (0.0, 0.0)))


def test_the_legend_the_live_line_and_the_contours_have_the_numbers_of_the_moment():
    film = moving(contours=Contours(step=0.01, index=1, labels=True))
    for number, live, legend in (
        (0, "zoom 0.0    loss 2.001", {"2", "3.3"}),
        (15, "zoom 2.0    loss 2.050", {"2.02", "2.1"}),
    ):
        frame = film.frame(number)
        texts, scale = [o.text for o in frame.overlays if isinstance(o, Text)], frame.views[0].appearance.height_scale
        assert {live} | legend <= set(texts)
        lines = [float(o.text) for o in frame.overlays if isinstance(o, Text) and o.align == "middle"]
        assert lines and all(scale.low < line < scale.high for line in lines)
    assert scale.high - scale.low < 0.1


def test_the_dots_on_the_measured_points_are_where_the_grid_is():
    film = moving(nodes=True)
    nodes = film.frame(0).views[0].appearance.nodes
    assert nodes.spacing == pytest.approx((2 / 32, 1 / 16)) and nodes.place == pytest.approx((0.0, 0.0))


# --- what AOVs are drawn of ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "leading"), [(13, 0), (15, 1)])  # of the dissolve from 12 to 16
def test_the_aov_frame_is_the_view_of_most_weight_alone(number, leading):
    many = film_of(
        form=Format(size=Size(160, 90), fps=Fraction(8), quality={"samples": 1, "subframes": 4}, shutter=180.0)
    )
    [view] = many.aov_frame(number).views
    assert bits(view) == bits(film_of().frame(number).views[leading])
    assert many.aov_frame(number).overlays == ()


def test_fields_are_the_measured_numbers_at_the_nodes_without_a_cap():
    capped = film_of(look=LOOK.model_copy(update={"height": HeightMapping(cap=1.5)}))
    measured = capped.fields(0, ["loss", "convexity"])
    assert measured["loss"].shape == (33, 33) and np.allclose(measured["loss"][::4, ::4], LOSS.values[0])
    low, high = SQUARED - 1, SQUARED + 1
    share = np.maximum(0, -low) / np.maximum(np.abs(low), np.abs(high))
    assert np.allclose(measured["convexity"][::4, ::4], share)
    assert capped.fields(0, ["loss"])["loss"].max() > 1.5


def test_a_shot_shows_another_landscape_as_lines_over_its_own_with_its_numbers_in_the_same_range():
    doubled = replace(SURFACES, fields=dict(SURFACES.fields) | {"loss": replace(LOSS, values=2 * LOSS.values)})
    landscapes = {"one": SURFACES, "two": doubled}
    shot = SHOTS[0].model_copy(update={"show": ("one",), "over": "two", "to_next": Transition()})
    notes = {"one": NOTES, "two": {"loss": "what the other loss is", "convexity": ""}}
    film = FrameSource.of((shot,), landscapes, LOOK, TITLED, FORMAT, notes)
    [drawn] = film.frame(5).views
    alone = FrameSource.of(
        (shot.model_copy(update={"show": ("two",), "over": None}),), landscapes, LOOK, TITLED, FORMAT, notes
    )
    assert np.array_equal(drawn.over.height, alone.frame(5).views[0].height) and drawn.over.wire is not None
    assert np.nanmean(drawn.over.height) > np.nanmean(drawn.height)
    texts = [overlay.text for overlay in film.frame(10).overlays if isinstance(overlay, Text)]
    assert {"one", "two, as lines", "two: what the other loss is"} <= set(texts)
    assert sum("loss " in text and "epoch" in text for text in texts) == 2
    assert film.aov_frame(5).views[0].over is None
