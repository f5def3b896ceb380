"""The keys of a training that takes seconds."""


def list_keys(pictures):
    """Return those of a smoke run on small pictures; mine.json holds the architecture."""
    return [
        "arch=mine.json",
        "recipe=short",
        "recipe.smoke=true",
        "validations=2",
        "device=cpu",
        "data=folder",
        f"data.train={pictures / 'train'}",
        f"data.val={pictures / 'val'}",
    ]
