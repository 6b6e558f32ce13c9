"""MWMBest: for each star the result that is thought to be the best, in one table (astraMWMLite)."""

from __future__ import annotations

from astra.fields import (
    BigAutoField,
    BigIntegerField,
    BitField,
    FloatField,
    IntegerField,
    TextField,
    add_floats,
)
from astra.models.aspcap import PARAMETERS, add_abundances
from astra.models.pipeline import PipelineOutputMixin
from astra.models.snow_white import CLASSES


class MWMBest(PipelineOutputMixin):
    """The best result of a star, from whichever `pipeline`, with its combined spectrum.

    The table has a key of its own, `pk`: the `task_pk` of a row is that of the result in the
    table of its pipeline, so two pipelines may have the same, and a later run may change it.  The
    `id` is the row's key in the file, which each release counts anew.
    """

    pk = BigAutoField()
    id = BigIntegerField(null=True)
    pipeline = TextField(null=True)
    task_pk = BigIntegerField(null=True)

    # The spectrum
    release = TextField(null=True)
    filetype = TextField(null=True)
    telescope = TextField(null=True)
    apred = TextField(null=True)
    apstar = TextField(null=True)
    obj = TextField(null=True)
    field = TextField(null=True)
    prefix = TextField(null=True)
    run2d = TextField(null=True)
    snr = FloatField(null=True)
    mean_fiber = FloatField(null=True)
    std_fiber = FloatField(null=True)
    gri_gaia_transform_flags = BitField()
    zwarning_flags = BitField()
    spectrum_flags = BitField()
    min_mjd = IntegerField(null=True)
    max_mjd = IntegerField(null=True)
    n_visits = IntegerField(null=True)
    n_good_visits = IntegerField(null=True)
    n_good_rvs = IntegerField(null=True)

    # Velocities
    v_rad = FloatField(null=True)
    e_v_rad = FloatField(null=True)
    std_v_rad = FloatField(null=True)
    median_e_v_rad = FloatField(null=True)
    for _name in ("teff", "logg", "fe_h"):
        add_floats(locals(), (f"xcsao_{_name}", f"xcsao_e_{_name}"))
    xcsao_meanrxc = FloatField(null=True)
    for _name in ("teff", "logg", "fe_h"):
        add_floats(locals(), (f"doppler_{_name}", f"doppler_e_{_name}"))
    doppler_rchi2 = FloatField(null=True)
    doppler_flags = BitField()
    xcorr_v_rad = FloatField(null=True)
    xcorr_v_rel = FloatField(null=True)
    xcorr_e_v_rel = FloatField(null=True)
    ccfwhm = FloatField(null=True)
    autofwhm = FloatField(null=True)
    n_components = IntegerField(null=True)
    boss_net_v_rad = FloatField(null=True)
    boss_net_e_v_rad = FloatField(null=True)

    # Stellar parameters and abundances
    for _name in PARAMETERS:
        add_floats(locals(), (_name, f"e_{_name}"))
    del _name
    add_abundances(locals())

    # Classes
    classification = TextField(null=True)
    add_floats(locals(), [f"p_{_class}" for _class in CLASSES])
    spectral_type = TextField(null=True)
    sub_type = FloatField(null=True)

    rchi2 = FloatField(null=True)
    # Their meaning is that of the result_flags of the pipeline.
    pipeline_flags = BitField()


Best = MWMBest
