def test_doctor_finds_everything_a_film_needs(invoke):
    result = invoke("doctor")
    assert result.status == 0
    assert [line[:15].split() for line in result.out.splitlines()] == [
        ["ok", name] for name in ("OpenGL", "GPU", "ffmpeg", "fonts", "disk")
    ]
